"""From what egress reports to the events of the stream. Pure."""

from functools import lru_cache
from typing import assert_never

from policy.decision import Decision
from policy.host import Address
from supervisor.egress import codes
from supervisor.egress.admit import Opened, Refused
from supervisor.egress.caller import Callers
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin
from supervisor.egress.service import NameRefused, Report, RequestEnded, Shed, TunnelEnded
from supervisor.errors import Code
from supervisor.events.vocabulary import (
    Actor,
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    ConnectionShed,
    DnsRefused,
    Endpoint,
    Event,
    HttpRequest,
    Rule,
    Verdict,
    Why,
)

# Programs that connect, and addresses that they connect from: the same few again and again.
REMEMBERED = 1024
_VERDICTS = {verdict.value: verdict for verdict in Verdict}


def event_of(report: Report) -> Event:
    """The event for a report."""
    match report:
        case Opened():
            return ConnectionOpened(
                actors=_actors(report.callers),
                source=_source(report.origin),
                destination=_destination(report.target),
                why=_why(None, report.decision),
                rule=_rule(report.decision),
                request_id=report.origin.request_id,
            )
        case Refused():
            return ConnectionRefused(
                actors=_actors(report.callers),
                source=_source(report.origin),
                destination=None if report.target is None else _destination(report.target),
                why=Why.of(report.code, report.cause),
                rule=_rule(report.decision),
                request_id=report.origin.request_id,
            )
        case TunnelEnded():
            return ConnectionClosed(
                actors=_actors(report.callers),
                source=_source(report.origin),
                destination=_destination(report.target),
                how=report.how.name.lower(),
                bytes_up=report.bytes_up,
                bytes_down=report.bytes_down,
                seconds=report.seconds,
                request_id=report.origin.request_id,
            )
        case RequestEnded():
            return _request(report)
        case NameRefused():
            why = Why.of(codes.NAME_REFUSED, report.why)
            return DnsRefused(name=report.name, kind=report.kind, why=why)
        case Shed():
            return ConnectionShed(limit=report.limit, value=report.value)
        case unreachable:
            assert_never(unreachable)


def _request(report: RequestEnded) -> HttpRequest:
    record, decision = report.record, report.decision
    at = record.authority
    if record.code is None and decision is not None:
        verdict = _VERDICTS[decision.verdict]
    else:  # refused by policy, or not to be had, or no request at all: the client got our answer
        verdict = Verdict.DENY
    return HttpRequest(
        actors=_actors(report.callers),
        destination=Endpoint() if at is None else _endpoint(at.host, at.port),
        method=record.method,
        path=record.path,
        verdict=verdict,
        status=record.status,
        why=_why(record.code, decision),
        rule=_rule(decision),
        bytes_up=record.bytes_up,
        bytes_down=record.bytes_down,
        source=Endpoint(ip=_text(report.client[0]), port=report.client[1]),
        request_id=record.request_id,
    )


@lru_cache(REMEMBERED)
def _actors(callers: Callers | None) -> tuple[Actor, ...]:
    if callers is None:
        return ()
    # An unknown caller has no process: then there are fewer pids than callers, or none.
    pids = (*callers.pids, *[None] * (len(callers.callers) - len(callers.pids)))
    return tuple(
        Actor(pid=pid, binary=caller.binary, ancestors=caller.ancestors)
        for caller, pid in zip(callers.callers, pids, strict=True)
    )


@lru_cache(REMEMBERED)
def _text(address: Address) -> str:
    return str(address)


def _source(origin: Origin) -> Endpoint:
    return Endpoint(ip=_text(origin.address), port=origin.port)


def _destination(target: Target) -> Endpoint:
    return _endpoint(target.host, target.port)


def _endpoint(host: str, port: int) -> Endpoint:
    """Only canonical addresses have a colon or end in a digit label."""
    if ":" in host or host.rpartition(".")[2].isdigit():
        return Endpoint(ip=host, port=port)
    return Endpoint(host=host, port=port)


def _why(code: Code | None, decision: Decision | None) -> Why:
    if code is not None:
        return Why.of(code, "" if decision is None else decision.detail)
    return Why(code="") if decision is None else Why(code=decision.code.name)


def _rule(decision: Decision | None) -> Rule | None:
    if decision is None or decision.rule is None:
        return None
    return Rule(entry=decision.rule.entry, at=str(decision.rule.origin))
