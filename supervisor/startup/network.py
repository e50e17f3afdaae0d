"""What the fence needs while the workload runs: egress, a look at changes, a live policy."""

import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.egress.process import EgressSpec
from supervisor.errors import Refusal
from supervisor.events.event_metrics import EGRESS_PREFIX, FENCE_PREFIX
from supervisor.events.log import Log
from supervisor.events.status import Status, health_of
from supervisor.events.vocabulary import Drift, Why
from supervisor.fence.request import FencedNamespace
from supervisor.fence.watch import changed
from supervisor.identity.inputs import HELPER_IDS
from supervisor.kernel.memfd import memory
from supervisor.monitor import codes
from supervisor.monitor.blocked_keeper import BlockedKeeper
from supervisor.monitor.egress_keeper import EgressKeeper
from supervisor.monitor.loop import Loop
from supervisor.monitor.record_server import RecordServer, Source
from supervisor.settings import RunSettings
from supervisor.startup import codes as startup_codes
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.policy_watch import PolicyWatch
from supervisor.startup.records import serve_records
from supervisor.startup.upstream import Upstream

if TYPE_CHECKING:
    from supervisor.monitor.metrics_keeper import MetricsKeeper

HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"
FILE_BYTES = 1 << 20  # an engine writes a few lines


@dataclass(slots=True, kw_only=True)
class NetworkKeeping:
    """Starts what lives beside the workload, once the fence is proved, before the workload runs."""

    settings: RunSettings
    workload: tuple[int, int]  # uid, gid
    policy: LoadedPolicy
    started: float  # seconds since the epoch
    upstream: Upstream
    egress_uid: int | None  # None: unprivileged, so the helpers stay who we are
    tells_programs: bool = True
    sees_programs: bool = True  # our root is the workload's
    on_ready: Callable[[], None] = lambda: None  # egress serves
    # A changed policy, before egress gets it; False: it does not.
    on_policy: Callable[[LoadedPolicy], bool] = lambda _: True
    has_workload: bool = True  # in this container
    degraded: tuple[str, ...] = ()  # controls, for status and metrics
    loop: Loop
    log: Log
    _pages: dict[str, int] = field(default_factory=dict)
    _metrics: "MetricsKeeper | None" = field(default=None, init=False)
    _keepers: list[EgressKeeper] = field(default_factory=list)
    watcher: BlockedKeeper | None = field(default=None, init=False)

    def start(self, fence: FencedNamespace) -> None:
        """Called with the fence of this start. Raises Refusal."""
        if "changes" in fence.sockets:
            changes = socket.socket(fileno=fence.sockets["changes"])
            self.loop.watch(changes.fileno(), lambda: self._look_at(changes))
        server = serve_records(self.loop, self._status)
        self.log.remember(server.keep)
        self._serve_metrics(server)
        if "nflog" in fence.sockets:
            self._watch(fence.sockets["nflog"], server.source("watcher"))
        if "capture4" not in fence.sockets:
            return
        keeper = EgressKeeper(
            spec=self._spec(fence),
            policy=self.policy.whole,
            workload=None if self.egress_uid is None else self.workload,
            loop=self.loop,
            log=self.log,
            source=server.source("egress"),
            on_ready=self.on_ready,
        )
        self._keepers.append(keeper)
        self.loop.keep(keeper)
        if chosen := self.upstream.described():
            self.log.emit(chosen)
        if self.settings.policy is not None:
            PolicyWatch(
                self.settings.policy,
                from_image=self.settings.policy_from_image,
                sees_programs=self.sees_programs,
                loaded=self.policy,
                use=self._use,
                generation=lambda: self.generation,
                loop=self.loop,
                log=self.log,
            ).start()
        keeper.reset_waiting()  # the proof's probes, nobody else's
        keeper.start()

    def _serve_metrics(self, server: RecordServer) -> None:
        path = self.settings.metrics_socket
        if path is None:
            return
        from supervisor.startup.metrics import serve_metrics

        self._pages = {prefix: memory("metrics") for prefix in (EGRESS_PREFIX, FENCE_PREFIX)}
        self._metrics = serve_metrics(
            path,
            workload_uid=self.workload[0] if self.has_workload else None,
            uid=None if self.egress_uid is None else HELPER_IDS["access"],
            pages=self._pages,
            status=lambda: self._status(server),
            records=server.counts,
            loop=self.loop,
            log=self.log,
        )

    def _use(self, loaded: LoadedPolicy) -> None:
        if self.on_policy(loaded):
            for keeper in self._keepers:
                keeper.use_policy(loaded.whole)

    @property
    def generation(self) -> int:
        """The policy in force; 0 is the first one."""
        return sum(keeper.generation for keeper in self._keepers)

    def exclude(self, pids: frozenset[int]) -> None:
        """Processes of other containers that are ours, too: not to be taken for the workload's."""
        for keeper in self._keepers:
            keeper.exclude(pids)

    def _status(self, server: RecordServer) -> Status:
        others = [one for one in (self.watcher, self._metrics) if one is not None]
        helpers = tuple(keeper.status() for keeper in (*self._keepers, *others))
        return Status(
            state="running",
            health=health_of(helpers, is_running=self.loop.main != 0 or not self.has_workload),
            workload_pid=self.loop.main or None,
            started=self.started,
            policy_generation=self.generation,
            helpers=helpers,
            tunnels=sum(keeper.tunnels for keeper in self._keepers),
            degraded=self.degraded,
            records=server.ring.records,
            forgotten=server.ring.forgotten,
            dropped=server.dropped + self.log.dropped,
        )

    def alone_with_the_log(self) -> AbstractContextManager[None]:
        """Nobody but the caller reads what the fence logs, for as long as this is held."""
        return nullcontext() if self.watcher is None else self.watcher.paused()

    def _watch(self, nflog: int, source: Source) -> None:
        self.watcher = BlockedKeeper(
            nflog=nflog,
            # Not egress' own: the fence lets that one out.
            uid=None if self.egress_uid is None else HELPER_IDS["access"],
            source=source,
            writes_log=self._writes_log(),
            metrics=self._pages.get(FENCE_PREFIX),
            loop=self.loop,
            log=self.log,
        )
        self.loop.keep(self.watcher)
        self.watcher.start()

    def _writes_log(self) -> bool:
        # A raw terminal belongs to the workload; 'events' shows the records all the same.
        return not (self.settings.interactive and os.isatty(2))

    def _spec(self, fence: FencedNamespace) -> EgressSpec:
        return EgressSpec(
            uid=self.egress_uid,
            sockets=dict(fence.sockets),
            names=memory("names"),
            hosts=read_engine_file(HOSTS),
            resolv_conf=read_engine_file(RESOLV_CONF),
            has_ipv6=fence.report.ipv6,
            tells_programs=self.tells_programs,
            servers=self.upstream.servers,
            proxy=self.upstream.proxy,
            log_json=self.log.as_json,
            log_level=self.log.level,
            log=self._writes_log(),
            metrics=self._pages.get(EGRESS_PREFIX),
        )

    def _look_at(self, changes: socket.socket) -> None:
        if changed(changes):
            self.loop.unwatch(changes.fileno())  # once is enough
            self.log.emit(Drift(control="network", why=Why.of(codes.FENCE_CHANGED)))
            self.loop.fail(codes.FENCE_CHANGED)


def read_engine_file(path: str) -> bytes:
    """A file of the engine, bounded; absent is empty. A device or a FIFO is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return b""
    try:
        content = os.read(descriptor, FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > FILE_BYTES:
        raise Refusal(startup_codes.HOSTS_TOO_LARGE, f"{path} is longer than {FILE_BYTES} bytes")
    return content
