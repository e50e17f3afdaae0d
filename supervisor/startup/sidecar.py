"""``sidecar``: serve the network of a fenced pod, and hold the control channel to its agent.

As uid 0 (binary-aware) it takes over the fence that net-init installed, compares it, listens for
changes and drops NET_ADMIN; what it keeps is for seeing who owns a connection and for ending and
restarting egress. As egress' own uid with no capability it does the same without those controls,
if the policy can do without them.
"""

import os
import resource
import time
from collections.abc import Mapping

from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.vocabulary import PolicyRejected, SidecarEnded, SidecarStarted, Why
from supervisor.fence import codes as fence_codes
from supervisor.fence.request import FencedNamespace, FenceReport, Served
from supervisor.fence.setup import adopt_pod_fence, serve_pod
from supervisor.kernel import capabilities, prctl, procfs
from supervisor.monitor.lifecycle import Finish
from supervisor.monitor.loop import Loop, open_signals
from supervisor.sidecar import codes, directory
from supervisor.sidecar.beacon import Beacon
from supervisor.sidecar.document import document
from supervisor.sidecar.host import ControlHost, Ends, end_all_of
from supervisor.sidecar.host_states import Host
from supervisor.startup import codes as startup_codes
from supervisor.startup.controls import Degraded, Lack, judge
from supervisor.startup.inquiry import Inquiry
from supervisor.startup.network import NetworkKeeping
from supervisor.startup.own_filter import confine_monitor
from supervisor.startup.pod import PodSettings, fence_request, load_policy, run_settings
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.telling import told
from supervisor.startup.termination import write_termination_log
from supervisor.startup.upstream import Upstream, obtain_upstream

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


def sidecar(settings: PodSettings) -> int:
    """Serve until the agent has ended, TERM, or a failure; the exit status."""
    log = Log(format=settings.log_format, level=settings.log_level)
    return told(lambda: _run(settings, log), log)


def _run(settings: PodSettings, log: Log) -> int:
    signals = open_signals()  # first: from here on no signal is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ends = Ends()
    loop = Loop(signals=signals, lifecycle=ends, log=log)
    _start(settings, loop, ends, log)
    return _finished(loop.run(0), log)


def _start(settings: PodSettings, loop: Loop, ends: Ends, log: Log) -> None:
    privileged = check_privileges(settings.egress_uid)
    control = directory.claim(settings.shared)
    upstream = obtain_upstream(settings.upstream, beside_workload=False)
    loaded = load_policy(settings)
    degraded = () if privileged else degradations(loaded)
    fence = _open(settings, loaded, control, privileged=privileged)
    _shed(privileged=privileged)
    beacon = Beacon(control)
    channel: ControlHost

    def on_ready() -> None:
        beacon.serving()
        channel.ready()

    def on_policy(changed: LoadedPolicy) -> bool:
        if not privileged and not _can_do_without(changed, keeping.generation, log):
            return False
        channel.publish(document(changed.static, settings.environment))
        return True

    keeping = NetworkKeeping(
        settings=run_settings(settings),
        workload=(settings.uid, settings.gid),
        policy=loaded,
        started=time.time(),
        upstream=upstream,
        egress_uid=settings.egress_uid if privileged else None,
        tells_programs=privileged,
        sees_programs=False,
        on_ready=on_ready,
        on_policy=on_policy,
        has_workload=False,
        degraded=tuple(item.control for item in degraded),
        loop=loop,
        log=log,
    )
    channel = ControlHost(
        _host(settings, control),
        shared=settings.shared,
        control=control,
        uid=settings.uid,
        document=document(loaded.static, settings.environment),
        on_agent=lambda pid: keeping.exclude(frozenset({pid} if pid else ())),
        ends=ends,
        loop=loop,
        log=log,
    )
    ends.attach(channel)
    inquiry = Inquiry(loop)
    for kept in (channel, beacon, log):
        loop.keep(kept)
    keeping.start(fence)
    _listen(channel, settings, loaded)
    report = _report(fence, degraded, settings, upstream, loaded)
    log.emit(SidecarStarted(pid=os.getpid(), is_degraded=bool(degraded), report=report))
    inquiry.serve(lambda _: {"role": "sidecar"} | report)


def _shed(*, privileged: bool) -> None:
    """What has to be seen of the fence is bound: NET_ADMIN is not needed any more (decisions 34)."""
    if privileged:
        prctl.keep_capabilities(capabilities.numbers(KEPT))
        prctl.set_undumpable()
    prctl.set_no_new_privs()


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


def _open(
    settings: PodSettings, loaded: LoadedPolicy, control: int, *, privileged: bool
) -> FencedNamespace:
    """The pod's network as we hold it; no rules where they cannot be seen without a capability."""
    request = fence_request(settings, loaded.static)
    try:
        if not privileged:
            return _fenced(*serve_pod(Served()), rules=0, table_owned=False)
        adopted = adopt_pod_fence(request)
    except Refusal as refusal:
        restarted = directory.recall(control) is not None
        if refusal.code is not fence_codes.PORT_TAKEN or not restarted:
            raise
        ended = end_all_of(settings.uid) if privileged else 0
        cause = f"{refusal.cause}; {ended} processes of uid {settings.uid} were ended"
        raise Refusal(codes.WORKLOAD_HOLDS_PORT, cause) from refusal
    report = adopted.report
    return _fenced(adopted.sockets, report.ipv6, rules=report.rules, table_owned=report.table_owned)


def _fenced(
    sockets: Mapping[str, int], ipv6: bool, *, rules: int, table_owned: bool
) -> FencedNamespace:
    report = FenceReport(
        form="pod", user_namespace=False, ipv6=ipv6, rules=rules, table_owned=table_owned
    )
    return FencedNamespace(net=None, user=None, sockets=sockets, report=report)


def _can_do_without(policy: LoadedPolicy, generation: int, log: Log) -> bool:
    """Whether an unprivileged sidecar may serve a policy that was changed while the pod runs."""
    try:
        degradations(policy)
    except Refusal as refusal:
        log.emit(PolicyRejected(generation=generation, why=Why.refused(refusal)))
        return False
    return True


def _listen(channel: ControlHost, settings: PodSettings, policy: LoadedPolicy) -> None:
    confine_monitor(policy.static)  # before the agent's half, or anybody, can say a word
    try:
        channel.start()
    except OSError as error:
        raise Refusal(codes.SHARED_DIRECTORY, f"{settings.shared}: {error}") from error


def _report(
    fence: FencedNamespace,
    degraded: tuple[Degraded, ...],
    settings: PodSettings,
    upstream: Upstream,
    loaded: LoadedPolicy,
) -> dict[str, object]:
    """What holds here: for the log, and for 'report' in this container."""
    rules = fence.report.rules
    return {
        "uid": os.geteuid(),
        "capabilities": capabilities.names(procfs.read_status().effective),
        "fence": f"{rules} rules, read back" if rules else "not to be seen",
        "policy": settings.policy or "closed",
        "absent": [
            {"control": item.control, "cause": item.cause, "allowed_by": item.allowed_by}
            for item in degraded
        ],
        "notes": upstream.notes(),
        "warnings": [str(finding) for finding in loaded.static.findings],
        "started_s": round(time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID), 3),
    }


def _finished(finish: Finish, log: Log) -> int:
    fields: dict[str, object] = {"status": finish.status}
    if finish.cause is not None:
        fields |= {
            "code": finish.cause.name,
            "cause": finish.cause.meaning,
            "remedy": finish.cause.remedy,
        }
    why = None if finish.cause is None else Why.of(finish.cause)
    log.emit(SidecarEnded(pid=os.getpid(), status=finish.status, why=why))
    log.finish()
    write_termination_log(fields)
    return finish.status
