"""``sidecar``: serve the network of a fenced pod, and hold the control channel to its agent.

As uid 0 (binary-aware) it takes over the fence that net-init installed, compares it, listens for
changes and drops NET_ADMIN; what it keeps is for seeing who owns a connection and for ending and
restarting egress. As egress' own uid with no capability it does the same without those controls,
if the policy can do without them.
"""

import json
import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.egress.process import EgressSpec
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.fence import codes as fence_codes
from supervisor.fence.request import Served
from supervisor.fence.setup import adopt_pod_fence, serve_pod
from supervisor.fence.watch import changed
from supervisor.kernel import capabilities, prctl, procfs
from supervisor.kernel.memfd import memory
from supervisor.monitor import codes as monitor_codes
from supervisor.monitor.egress_keeper import EgressKeeper
from supervisor.monitor.lifecycle import Finish
from supervisor.monitor.loop import Loop, open_signals
from supervisor.sidecar import codes, directory
from supervisor.sidecar.beacon import Beacon
from supervisor.sidecar.document import document
from supervisor.sidecar.host import ControlHost, Ends, end_all_of
from supervisor.sidecar.host_states import Host
from supervisor.startup import codes as startup_codes
from supervisor.startup.controls import Degraded, Lack, judge
from supervisor.startup.network import HOSTS, RESOLV_CONF, read_engine_file
from supervisor.startup.pod import PodSettings, fence_request, load_policy
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.policy_watch import PolicyWatch
from supervisor.startup.run import refused
from supervisor.startup.termination import write_termination_log

# To look into other containers' processes, to end the workload, to start egress as itself.
KEPT = ("KILL", "SETGID", "SETPCAP", "SETUID", "SYS_PTRACE")
NEEDED = (*KEPT, "NET_ADMIN")
# What an unprivileged sidecar cannot give, and why.
NEEDS_PRIVILEGE = {
    "binary-identity": "programs of another uid cannot be looked at without CAP_SYS_PTRACE",
    "blocked-attempts": "NFLOG needs CAP_NET_ADMIN once",
    "drift-detection": "hearing of changed rules needs CAP_NET_ADMIN once; the agent's half tries "
    "the fence once a minute instead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The pod's network as we hold it."""

    sockets: dict[str, int]
    ipv6: bool
    rules: int | None  # None: not to be seen without a capability


def sidecar(settings: PodSettings) -> int:
    """Serve until the agent has ended, TERM, or a failure; the exit status."""
    log = Log(format=settings.log_format, level=settings.log_level)
    signals = open_signals()  # first: from here on no signal is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ends = Ends()
    loop = Loop(signals=signals, lifecycle=ends)
    try:
        _start(settings, loop, ends, log)
    except Refusal as refusal:
        return refused(refusal, log)
    return _finished(loop.run(0), log)


def _start(settings: PodSettings, loop: Loop, ends: Ends, log: Log) -> None:
    privileged = check_privileges(settings.egress_uid)
    control = directory.claim(settings.shared)
    loaded = load_policy(settings)
    degraded = () if privileged else degradations(loaded)
    opened = _open(settings, loaded, control, privileged=privileged)
    if privileged:
        prctl.keep_capabilities(capabilities.numbers(KEPT))
        prctl.set_undumpable()
    prctl.set_no_new_privs()
    if "changes" in opened.sockets:
        _watch_fence(socket.socket(fileno=opened.sockets["changes"]), loop)
    beacon = Beacon(control)
    channel: ControlHost

    def on_ready() -> None:
        beacon.serving()
        channel.ready()

    keeper = EgressKeeper(
        spec=_egress(settings, opened, log, privileged=privileged),
        workload=(settings.uid, settings.gid) if privileged else None,
        policy=loaded.whole or json.dumps(closed_wire()).encode(),
        loop=loop,
        log=log,
        on_ready=on_ready,
    )
    channel = ControlHost(
        _host(settings, control),
        shared=settings.shared,
        control=control,
        uid=settings.uid,
        document=document(loaded.static, settings.environment),
        on_agent=lambda pid: keeper.exclude(frozenset({pid} if pid else ())),
        ends=ends,
        loop=loop,
        log=log,
    )
    ends.attach(channel)
    for kept in (keeper, channel, beacon):
        loop.keep(kept)
    keeper.start()
    _listen(channel, settings)
    if settings.policy is not None:
        use = _use(settings, keeper, channel, log, privileged=privileged)
        PolicyWatch(
            settings.policy,
            from_image=settings.policy_from_image,
            loaded=loaded,
            use=use,
            loop=loop,
            log=log,
        ).start()
    _report(opened, degraded, settings, log)


def _host(settings: PodSettings, control: int) -> Host:
    return Host(
        uid=settings.uid,
        gid=settings.gid,
        grace_s=settings.grace_s,
        await_s=settings.await_agent_s,
        session=directory.recall(control),
    )


def check_privileges(egress_uid: int) -> bool:
    """True as uid 0 with what that needs, False as egress' uid with nothing. Raises Refusal."""
    status = procfs.read_status()
    uid = status.uids[1]
    if uid == 0:
        missing = [name for name in NEEDED if not capabilities.has(status.effective, name)]
        if missing:
            raise Refusal(codes.SIDECAR_PRIVILEGES, f"uid 0 without {', '.join(missing)}")
        return True
    held = capabilities.names(status.permitted | status.inheritable | status.ambient)
    if held:
        raise Refusal(codes.SIDECAR_PRIVILEGES, f"uid {uid} with {', '.join(held)}")
    if uid != egress_uid:
        cause = f"uid {uid}, while the fence lets uid {egress_uid} through"
        raise Refusal(codes.SIDECAR_PRIVILEGES, cause)
    return False


def degradations(loaded: LoadedPolicy) -> tuple[Degraded, ...]:
    """What an unprivileged sidecar lacks; raises Refusal where the policy needs it."""
    wants = loaded.static.supervisor
    if loaded.allows_network and "binary-identity" not in wants.accept:
        cause = f"binary-identity: {NEEDS_PRIVILEGE['binary-identity']}, and entries name binaries"
        raise Refusal(startup_codes.CONTROL_REQUIRED, cause)
    lacks = [Lack(control, cause) for control, cause in NEEDS_PRIVILEGE.items()]
    return judge(lacks, require=wants.require, accept=wants.accept)


def _open(settings: PodSettings, loaded: LoadedPolicy, control: int, *, privileged: bool) -> Opened:
    request = fence_request(settings, loaded.static)
    try:
        if not privileged:
            sockets, ipv6 = serve_pod(Served())
            return Opened(sockets=sockets, ipv6=ipv6, rules=None)
        fenced = adopt_pod_fence(request)
    except Refusal as refusal:
        restarted = directory.recall(control) is not None
        if refusal.code is not fence_codes.PORT_TAKEN or not restarted:
            raise
        ended = end_all_of(settings.uid) if privileged else 0
        cause = f"{refusal.cause}; {ended} processes of uid {settings.uid} were ended"
        raise Refusal(codes.WORKLOAD_HOLDS_PORT, cause) from refusal
    return Opened(sockets=dict(fenced.sockets), ipv6=fenced.report.ipv6, rules=fenced.report.rules)


def _egress(settings: PodSettings, opened: Opened, log: Log, *, privileged: bool) -> EgressSpec:
    return EgressSpec(
        uid=settings.egress_uid if privileged else None,
        sockets=opened.sockets,
        names=memory("names"),
        hosts=read_engine_file(HOSTS),
        resolv_conf=read_engine_file(RESOLV_CONF),
        has_ipv6=opened.ipv6,
        tells_programs=privileged,
        log_json=log.as_json,
        log_level=settings.log_level,
    )


def _watch_fence(changes: socket.socket, loop: Loop) -> None:
    def look() -> None:
        if changed(changes):
            loop.unwatch(changes.fileno())
            loop.fail(monitor_codes.FENCE_CHANGED)

    loop.watch(changes.fileno(), look)


def _use(
    settings: PodSettings,
    keeper: EgressKeeper,
    channel: ControlHost,
    log: Log,
    *,
    privileged: bool,
) -> Callable[[LoadedPolicy], None]:
    """What is done with a policy that was changed while the pod runs."""

    def use(policy: LoadedPolicy) -> None:
        if not privileged:
            try:
                degradations(policy)
            except Refusal as refusal:
                log.emit("policy.rejected", level="error", **refusal.as_dict())
                return
        keeper.use_policy(policy.whole)
        channel.publish(document(policy.static, settings.environment))

    return use


def _listen(channel: ControlHost, settings: PodSettings) -> None:
    try:
        channel.start()
    except OSError as error:
        raise Refusal(codes.SHARED_DIRECTORY, f"{settings.shared}: {error}") from error


def closed_wire() -> object:
    """The closed policy in wire form, for an egress that has to answer every question with no."""
    from policy.builtin import closed_policy
    from policy.wire import to_wire

    return to_wire(closed_policy())


def _report(
    opened: Opened, degraded: tuple[Degraded, ...], settings: PodSettings, log: Log
) -> None:
    absent = [
        {"control": item.control, "cause": item.cause, "allowed_by": item.allowed_by}
        for item in degraded
    ]
    log.emit(
        "sidecar.started",
        level="warning" if absent else "info",
        uid=os.geteuid(),
        capabilities=capabilities.names(procfs.read_status().effective),
        fence="not to be seen" if opened.rules is None else f"{opened.rules} rules, read back",
        policy=settings.policy or "closed",
        absent=absent,
        started_s=round(time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID), 3),
    )


def _finished(finish: Finish, log: Log) -> int:
    fields: dict[str, object] = {"status": finish.status}
    if finish.cause is not None:
        fields |= {
            "code": finish.cause.name,
            "cause": finish.cause.meaning,
            "remedy": finish.cause.remedy,
        }
    log.emit("sidecar.ended", level="info" if finish.cause is None else "warning", **fields)
    write_termination_log(fields)
    return finish.status
