"""Records of policy, helpers, the workload as a whole, and findings. Pure."""

from supervisor.events import vocabulary as v
from supervisor.events.record_parts import (
    CONFIG,
    ERROR,
    FAILURE,
    FINDING,
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

LAUNCH, TERMINATE = (1, "Launch"), (2, "Terminate")  # activities of processes


def loaded(event: v.PolicyLoaded) -> Body:
    """See PolicyLoaded."""
    unmapped = {"generation": event.generation, "closed": event.closed}
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


def tunnels(event: v.TunnelsClosed) -> Body:
    """See TunnelsClosed."""
    unmapped = {"generation": event.generation, "closed": event.count}
    message = "connections ended by the new policy"
    return _config("policy.tunnels-closed", Severity.LOW, SUCCESS, message, unmapped)


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


def restarted(event: v.HelperRestarted) -> Body:
    """See HelperRestarted."""
    return Body(
        PROCESS,
        LAUNCH,
        "helper.restarted",
        Severity.LOW,
        SUCCESS,
        "a helper serves again",
        {"process": {"pid": event.pid, "name": clean(event.helper)}},
        {},
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
        {},
    )


def sandbox_ended(event: v.SandboxEnded) -> Body:
    """See SandboxEnded."""
    fields: Json = {
        "process": {"pid": event.pid, "name": "workload"},
        "exit_code": event.status,
    }
    return Body(
        PROCESS,
        TERMINATE,
        "sandbox.ended",
        Severity.INFORMATIONAL if event.why is None else Severity.HIGH,
        SUCCESS if event.status == 0 and event.why is None else FAILURE,
        "the workload is over",
        fields if event.why is None else fields | reason(event.why),
        unmapped((), why=event.why),
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
