"""Records of policy, helpers, the workload as a whole, and findings. Pure."""

from supervisor.events import vocabulary as v
from supervisor.events.record_parts import (
    CONFIG,
    ERROR,
    FAILURE,
    FINDING,
    LIFECYCLE,
    OTHER,
    PROCESS,
    SUCCESS,
    Body,
    Json,
    plain,
    reason,
    unmapped,
)
from supervisor.events.text import clean, free_text
from supervisor.events.vocabulary import Severity

# Name servers, sections of a policy: a handful, counted nowhere else.
SECTIONS = 8
# Frames of a traceback, of which the innermost tell most.
FRAMES = 16
LAUNCH, TERMINATE = (1, "Launch"), (2, "Terminate")  # activities of processes


def loaded(event: v.PolicyLoaded) -> Body:
    """See PolicyLoaded."""
    unmapped = {"generation": event.generation}
    return _config("policy.loaded", Severity.INFORMATIONAL, SUCCESS, "policy in force", unmapped)


def rejected(event: v.PolicyRejected) -> Body:
    """See PolicyRejected."""
    body = _config(
        "policy.rejected",
        Severity.HIGH,
        FAILURE,
        "new policy rejected, the last good one stays in force",
        {"generation": event.generation, **unmapped((), why=event.why)},
    )
    return body._replace(fields=reason(event.why))


def needs_restart(event: v.PolicyNeedsRestart) -> Body:
    """See PolicyNeedsRestart."""
    unmapped = {"sections": [clean(section) for section in event.sections[:SECTIONS]]}
    message = "sections of the new policy that only a restart puts in force"
    return _config("policy.needs-restart", Severity.MEDIUM, FAILURE, message, unmapped)


def tunnels(event: v.TunnelsClosed) -> Body:
    """See TunnelsClosed."""
    unmapped = {"generation": event.generation, "closed": event.times}
    message = "connections ended by the new policy"
    return _config("policy.tunnels-closed", Severity.LOW, SUCCESS, message, unmapped)


def upstream(event: v.UpstreamChosen) -> Body:
    """See UpstreamChosen."""
    unmapped: Json = {"resolvers": [clean(one) for one in event.resolvers[:SECTIONS]]}
    if event.proxy is not None:
        unmapped["proxy"] = free_text(event.proxy)
        unmapped["asked_for"] = clean(event.asked_for or "-")
        unmapped["has_credentials"] = event.has_credentials
    message = "the way out of egress"
    return _config("egress.upstream", Severity.INFORMATIONAL, SUCCESS, message, unmapped)


def _config(code: str, severity: Severity, status: int, message: str, unmapped: Json) -> Body:
    return Body(CONFIG, (1, "Log"), code, severity, status, message, {}, unmapped)


def died(event: v.HelperDied) -> Body:
    """See HelperDied."""
    helper = clean(event.helper)
    return Body(
        PROCESS,
        TERMINATE,
        "helper.died",
        Severity.HIGH,
        FAILURE,
        "a helper ended and will be started again",
        {"process": {"pid": event.pid, "name": helper}, "exit_code": event.status},
        {"restart_s": plain(event.restart_s)},
    )


def ready(event: v.HelperReady) -> Body:
    """See HelperReady."""
    return _serves(event.helper, event.pid, "helper.ready", Severity.INFORMATIONAL, {})


def restarted(event: v.HelperRestarted) -> Body:
    """See HelperRestarted."""
    times = {"times": event.times}
    return _serves(event.helper, event.pid, "helper.restarted", Severity.LOW, times)


def _serves(helper: str, pid: int, code: str, severity: Severity, unmapped: Json) -> Body:
    message = "a helper serves again" if unmapped else "a helper serves"
    fields: Json = {"process": {"pid": pid, "name": clean(helper)}}
    return Body(PROCESS, LAUNCH, code, severity, SUCCESS, message, fields, unmapped)


def helper_fault(event: v.HelperFault) -> Body:
    """See HelperFault."""
    process: Json = {"name": clean(event.helper)}
    if event.pid is not None:
        process["pid"] = event.pid
    return Body(
        ERROR,
        (1, "General Error"),
        "helper.fault",
        Severity.HIGH,
        FAILURE,
        "a helper does not do what it should",
        {"process": process, **reason(event.why)},
        unmapped((), why=event.why),
    )


def gave_up(event: v.HelperGaveUp) -> Body:
    """See HelperGaveUp."""
    return Body(
        PROCESS,
        TERMINATE,
        "helper.gave-up",
        Severity.CRITICAL,
        FAILURE,
        "a helper ended too often; the workload is ended",
        {"process": {"name": clean(event.helper)}, "exit_code": event.status, **reason(event.why)},
        unmapped((), why=event.why),
    )


def step(event: v.StartStep) -> Body:
    """See StartStep."""
    return Body(
        LIFECYCLE,
        (3, "Start"),
        "start.step",
        Severity.INFORMATIONAL,
        SUCCESS,
        "a step of the start begins",
        {},
        {"step": clean(event.step), "what": clean(event.what)},
    )


def start_refused(event: v.StartRefused) -> Body:
    """See StartRefused."""
    return Body(
        PROCESS,
        LAUNCH,
        "start.refused",
        Severity.HIGH,
        FAILURE,
        "the workload was not started",
        {"process": {"name": "workload"}, "exit_code": event.status, **reason(event.why)},
        unmapped((), why=event.why),
    )


def started(event: v.SandboxStarted) -> Body:
    """See SandboxStarted."""
    user = {"name": clean(event.user), "uid": str(event.uid), "groups": [{"uid": str(event.gid)}]}
    return Body(
        PROCESS,
        LAUNCH,
        "sandbox.started",
        Severity.INFORMATIONAL,
        SUCCESS,
        "the workload runs, confined",
        {"process": {"pid": event.pid, "name": "workload", "user": user}},
        {} if event.report is None else {"report": event.report},
    )


def sandbox_ended(event: v.SandboxEnded) -> Body:
    """See SandboxEnded."""
    return _ended(event, "workload", "sandbox.ended", "the workload is over")


def sidecar_ended(event: v.SidecarEnded) -> Body:
    """See SidecarEnded."""
    return _ended(event, "sidecar", "sidecar.ended", "the sidecar is over")


def _ended(event: v.SandboxEnded | v.SidecarEnded, name: str, code: str, message: str) -> Body:
    fields: Json = {
        "process": {"pid": event.pid, "name": name},
        "exit_code": event.status,
    }
    return Body(
        PROCESS,
        TERMINATE,
        code,
        Severity.INFORMATIONAL if event.why is None else Severity.HIGH,
        SUCCESS if event.status == 0 and event.why is None else FAILURE,
        message,
        fields if event.why is None else fields | reason(event.why),
        unmapped((), why=event.why),
    )


def sidecar_started(event: v.SidecarStarted) -> Body:
    """See SidecarStarted."""
    return Body(
        PROCESS,
        LAUNCH,
        "sidecar.started",
        Severity.MEDIUM if event.is_degraded else Severity.INFORMATIONAL,
        SUCCESS,
        "the sidecar serves the pod",
        {"process": {"pid": event.pid, "name": "sidecar"}},
        {} if event.report is None else {"report": event.report},
    )


def fence_installed(event: v.FenceInstalled) -> Body:
    """See FenceInstalled."""
    unmapped = {
        "rules": event.rules,
        "ipv6": event.ipv6,
        "table_owned": event.table_owned,
    }
    message = "the pod's network is closed"
    return _config("fence.installed", Severity.INFORMATIONAL, SUCCESS, message, unmapped)


def pod_message(event: v.PodMessage) -> Body:
    """See PodMessage."""
    fields: Json = {} if event.pid is None else {"process": {"pid": event.pid, "name": "peer"}}
    if event.uid is not None:
        fields["actor"] = {"user": {"uid": str(event.uid)}}
    return Body(
        LIFECYCLE,
        (OTHER, "Other"),
        clean(event.name),
        Severity.INFORMATIONAL if event.why is None else Severity.MEDIUM,
        SUCCESS if event.why is None else FAILURE,
        "between the halves of the pod",
        fields if event.why is None else fields | reason(event.why),
        unmapped((), why=event.why),
    )


def fault(event: v.Fault) -> Body:
    """See Fault."""
    more = {"kind": clean(event.kind), **unmapped((), why=event.why)}
    if event.trace:
        more["trace"] = [clean(frame) for frame in event.trace[-FRAMES:]]
    return Body(
        ERROR,
        (1, "General Error"),
        "process.fault",
        Severity.HIGH,
        FAILURE,
        "a process of the supervisor met an error that it did not expect",
        {"process": {"name": clean(event.process)}, **reason(event.why)},
        more,
    )


def drift(event: v.Drift) -> Body:
    """See Drift."""
    title = f"drift: {clean(event.control)}"
    return _found(title, "drift", Severity.CRITICAL, event.why)


def finding(event: v.Finding) -> Body:
    """See Finding."""
    return _found(free_text(event.title), "finding", event.severity, event.why)


def _found(title: str, code: str, severity: Severity, why: v.Why) -> Body:
    fields: Json = {
        "finding_info": {"uid": clean(why.code), "title": title, "desc": free_text(why.cause)},
        "remediation": {"desc": clean(why.remedy)},
        **reason(why),
    }
    return Body(
        FINDING, (1, "Create"), code, severity, FAILURE, title, fields, unmapped((), why=why)
    )


def dropped(event: v.RecordsDropped) -> Body:
    """See RecordsDropped."""
    lanes = {lane.name.lower(): count for lane, count in event.lanes}
    return Body(
        ERROR,
        (1, "General Error"),
        "records.dropped",
        Severity.MEDIUM,
        FAILURE,
        "records are missing between two numbers",
        {"count": sum(lanes.values())},
        {
            "first": event.first,
            "last": event.last,
            "dropped": lanes,
            "denials_forgotten": event.denials_forgotten,
        },
    )
