"""What the fence needs while the workload runs: egress, a look at changes, a live policy."""

import os
import socket
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from supervisor.egress.process import EgressSpec
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.status import Status
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
from supervisor.startup.facts import Facts
from supervisor.startup.inquiry import may_ask
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.policy_watch import PolicyWatch
from supervisor.startup.upstream import Upstream

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
    facts: Facts
    loop: Loop
    log: Log
    _keepers: list[EgressKeeper] = field(default_factory=list)
    watcher: BlockedKeeper | None = field(default=None, init=False)

    def start(self, fence: FencedNamespace) -> None:
        """Called with the fence of this start. Raises Refusal."""
        if "changes" in fence.sockets:
            changes = socket.socket(fileno=fence.sockets["changes"])
            self.loop.watch(changes.fileno(), lambda: self._look_at(changes))
        server = self._record_server()
        self.log.remember(server.keep)
        if "nflog" in fence.sockets:
            self._watch(fence.sockets["nflog"], server.source("watcher"))
        if "capture4" not in fence.sockets:
            return
        keeper = EgressKeeper(
            spec=self._spec(fence),
            policy=self.policy.whole,
            workload=self.workload if self.facts.uid == 0 else None,
            loop=self.loop,
            log=self.log,
            source=server.source("egress"),
        )
        self._keepers.append(keeper)
        self.loop.keep(keeper)
        if chosen := self.upstream.described():
            self.log.emit(chosen)
        if self.settings.policy is not None:
            PolicyWatch(
                self.settings.policy,
                from_image=self.settings.policy_from_image,
                loaded=self.policy,
                use=keeper.use_policy,
                generation=lambda: keeper.generation,
                loop=self.loop,
                log=self.log,
            ).start()
        keeper.reset_waiting()  # the proof's probes, nobody else's
        keeper.start()

    def _record_server(self) -> RecordServer:
        try:
            return RecordServer(self.loop, status=self._status, may_ask=may_ask)
        except OSError as error:
            raise Refusal(startup_codes.ADDRESS_TAKEN, f"events: {error.strerror}") from error

    def _status(self, server: RecordServer) -> Status:
        watchers = () if self.watcher is None else (self.watcher,)
        helpers = tuple(keeper.status() for keeper in (*self._keepers, *watchers))
        return Status(
            state="running",
            ready=all(helper.state == "serving" for helper in helpers),
            workload_pid=self.loop.main or None,
            started=self.started,
            policy_generation=sum(keeper.generation for keeper in self._keepers),
            helpers=helpers,
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
            uid=HELPER_IDS["access"] if self.facts.uid == 0 else None,
            source=source,
            writes_log=self._writes_log(),
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
            uid=HELPER_IDS["egress"] if self.facts.uid == 0 else None,
            sockets=dict(fence.sockets),
            names=memory("names"),
            hosts=_read(HOSTS),
            resolv_conf=_read(RESOLV_CONF),
            has_ipv6=fence.report.ipv6,
            servers=self.upstream.servers,
            proxy=self.upstream.proxy,
            log_json=self.log.as_json,
            log_level=self.log.level,
            log=self._writes_log(),
        )

    def _look_at(self, changes: socket.socket) -> None:
        if changed(changes):
            self.log.emit(Drift(control="network", why=Why.of(codes.FENCE_CHANGED)))
            self.loop.fail(codes.FENCE_CHANGED)


def _read(path: str) -> bytes:
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
