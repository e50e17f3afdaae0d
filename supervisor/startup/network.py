"""What the fence needs while the workload runs: egress, a look at changes, a live policy."""

import os
import socket
from dataclasses import dataclass

from supervisor.egress.process import EgressSpec
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.fence.request import FencedNamespace
from supervisor.fence.watch import changed
from supervisor.identity.inputs import HELPER_IDS
from supervisor.kernel.memfd import memory
from supervisor.monitor import codes
from supervisor.monitor.egress_keeper import EgressKeeper
from supervisor.monitor.loop import Loop
from supervisor.settings import RunSettings
from supervisor.startup import codes as startup_codes
from supervisor.startup.facts import Facts
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.policy_watch import PolicyWatch

HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"
FILE_BYTES = 1 << 20  # an engine writes a few lines


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKeeping:
    """Starts what lives beside the workload, once the fence stands and before the workload runs."""

    settings: RunSettings
    workload: tuple[int, int]  # uid, gid
    policy: LoadedPolicy
    facts: Facts
    loop: Loop
    log: Log

    def start(self, fence: FencedNamespace) -> None:
        """Called with the fence of this start. Raises Refusal."""
        if "changes" in fence.sockets:
            changes = socket.socket(fileno=fence.sockets["changes"])
            self.loop.watch(changes.fileno(), lambda: self._look_at(changes))
        if "capture4" not in fence.sockets:
            return
        keeper = EgressKeeper(
            spec=self._spec(fence),
            policy=self.policy.whole,
            workload=self.workload if self.facts.uid == 0 else None,
            loop=self.loop,
            log=self.log,
        )
        self.loop.keep(keeper)
        if self.settings.policy is not None:
            PolicyWatch(
                self.settings.policy,
                from_image=self.settings.policy_from_image,
                loaded=self.policy,
                use=lambda loaded: keeper.use_policy(loaded.whole),
                loop=self.loop,
                log=self.log,
            ).start()
        keeper.start()

    def _spec(self, fence: FencedNamespace) -> EgressSpec:
        return EgressSpec(
            uid=HELPER_IDS["egress"] if self.facts.uid == 0 else None,
            sockets=dict(fence.sockets),
            names=memory("names"),
            hosts=read_engine_file(HOSTS),
            resolv_conf=read_engine_file(RESOLV_CONF),
            has_ipv6=fence.report.ipv6,
            log_json=self.log.as_json,
            log_level=self.settings.log_level,
        )

    def _look_at(self, changes: socket.socket) -> None:
        if changed(changes):
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
