"""From what egress reports to event lines. Pure but for the writing."""

from collections.abc import Callable
from typing import assert_never

from policy.decision import Decision
from supervisor.egress.admit import Opened, Refused
from supervisor.egress.caller import Callers
from supervisor.egress.naming import Target
from supervisor.egress.service import Report, RequestEnded, Shed, TunnelEnded
from supervisor.events.log import Log


def reporter(*, as_json: bool, level: str) -> Callable[[Report], None]:
    """A function that writes one event line for each report; structlog is imported at once."""
    log = Log(format="json" if as_json else "text", level=level)
    log.warm_up()

    def write(report: Report) -> None:
        name, severity, fields = event_of(report)
        log.emit(name, level=severity, **fields)

    return write


def event_of(report: Report) -> tuple[str, str, dict[str, object]]:
    """(name, level, fields) of a report."""
    match report:
        case Opened():
            fields = _destination(report.target) | _actor(report.callers)
            fields["code"] = report.decision.code.name
            return "egress.opened", "info", fields | _rule(report.decision)
        case Refused():
            fields = _destination(report.target) | _actor(report.callers)
            fields |= {
                "code": report.code.name,
                "cause": report.cause,
                "remedy": report.code.remedy,
            }
            return "egress.refused", "warning", fields | _rule(report.decision)
        case TunnelEnded():
            fields = _destination(report.target) | _actor(report.callers)
            fields |= {
                "how": report.how.name.lower(),
                "bytes_up": report.bytes_up,
                "bytes_down": report.bytes_down,
                "seconds": round(report.seconds, 3),
            }
            return "egress.closed", "info", fields
        case RequestEnded():
            return "egress.request", "info", _request(report)
        case Shed():
            return "egress.shed", "warning", {"limit": report.limit, "value": report.value}
        case unreachable:
            assert_never(unreachable)


def _request(report: RequestEnded) -> dict[str, object]:
    record = report.record
    fields: dict[str, object] = {
        "request_id": record.request_id,
        "authority": str(record.authority),
        "method": record.method,
        "path": record.path.partition("?")[0],  # a query may carry a secret
        "status": record.status,
        "code": None if record.code is None else record.code.name,
        "bytes_up": record.bytes_up,
        "bytes_down": record.bytes_down,
    }
    return fields | _actor(report.callers) | _rule(report.decision)


def _destination(target: Target | None) -> dict[str, object]:
    return {} if target is None else {"host": target.host, "port": target.port}


def _actor(callers: Callers | None) -> dict[str, object]:
    if callers is None:
        return {}
    binaries = [caller.binary for caller in callers.callers if caller.binary is not None]
    return {"pids": list(callers.pids), "binaries": binaries}


def _rule(decision: Decision | None) -> dict[str, object]:
    if decision is None or decision.rule is None:
        return {}
    return {"rule": decision.rule.entry, "rule_at": str(decision.rule.origin)}
