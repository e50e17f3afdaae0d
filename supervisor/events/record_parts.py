"""What the records of several events have in common."""

from math import isfinite
from typing import Any, NamedTuple

from supervisor.events import vocabulary as v
from supervisor.events.text import clean, free_text, host_name
from supervisor.events.vocabulary import Severity, Verdict

Json = dict[str, Any]

# A socket with more holders, a process with more parents: counted, not listed.
ACTORS = 4
ANCESTORS = 8

ALLOWED, DENIED = 1, 2  # action_id
DISPOSITION_ALLOWED, DISPOSITION_BLOCKED = 1, 2
DISPOSITION_LOGGED = 17  # let through, and told: audit mode
SUCCESS, FAILURE = 1, 2  # status_id
OTHER = 99
UNKNOWN = "unknown"  # a process that could not be told
OUTBOUND = 2  # connection_info.direction_id


class Class(NamedTuple):
    """An OCSF class: its number, its name, its category's number and name."""

    uid: int
    name: str
    category_uid: int
    category: str


NETWORK = Class(4001, "Network Activity", 4, "Network Activity")
HTTP = Class(4002, "HTTP Activity", 4, "Network Activity")
DNS = Class(4003, "DNS Activity", 4, "Network Activity")
FINDING = Class(2004, "Detection Finding", 2, "Findings")
CONFIG = Class(5019, "Device Config State Change", 5, "Discovery")
PROCESS = Class(1007, "Process Activity", 1, "System Activity")
LIFECYCLE = Class(6002, "Application Lifecycle", 6, "Application Activity")
ERROR = Class(6008, "Application Error", 6, "Application Activity")


class Body(NamedTuple):
    """What depends on the event."""

    kind: Class
    activity: tuple[int, str]
    code: str
    severity: Severity
    status: int
    message: str
    fields: Json
    unmapped: Json


def connection(
    actors: tuple[v.Actor, ...], source: v.Endpoint | None, destination: v.Endpoint | None
) -> Json:
    """Who connects to where."""
    fields: Json = {"connection_info": {"direction_id": OUTBOUND, "direction": "Outbound"}}
    if actors:
        fields["actor"] = {"process": _actor(actors[0])}
    if source is not None:
        fields["src_endpoint"] = _endpoint(source)
    if destination is not None:
        fields["dst_endpoint"] = _endpoint(destination)
    return fields


def _actor(actor: v.Actor) -> Json:
    """The process with its parents, one inside the other as OCSF has it."""
    parent: Json | None = None
    for path in reversed(actor.ancestors[:ANCESTORS]):
        one: Json = {"name": clean(path)}
        if parent is not None:
            one["parent_process"] = parent
        parent = one
    found: Json = {"name": UNKNOWN if actor.binary is None else clean(actor.binary)}
    if actor.pid is not None:
        found["pid"] = actor.pid
    if parent is not None:
        found["parent_process"] = parent
    return found


def _endpoint(end: v.Endpoint) -> Json:
    found: Json = {}
    if end.host is not None:
        found["hostname"] = host_name(end.host)
    if end.ip is not None:
        found["ip"] = clean(end.ip)
    if end.port is not None:
        found["port"] = end.port
    return found


def judged(verdict: Verdict, why: v.Why, rule: v.Rule | None) -> Json:
    """What was decided, why, and by which entry of the policy."""
    is_through = verdict is not Verdict.DENY
    fields: Json = {
        "action_id": ALLOWED if is_through else DENIED,
        "action": "Allowed" if is_through else "Denied",
        "disposition_id": _DISPOSITIONS[verdict][0],
        "disposition": _DISPOSITIONS[verdict][1],
        **reason(why),
    }
    if rule is not None:
        fields["firewall_rule"] = {"name": clean(rule.entry)}
    return fields


_DISPOSITIONS = {
    Verdict.ALLOW: (DISPOSITION_ALLOWED, "Allowed"),
    Verdict.AUDIT: (DISPOSITION_LOGGED, "Logged"),
    Verdict.DENY: (DISPOSITION_BLOCKED, "Blocked"),
}


def reason(why: v.Why) -> Json:
    """The code and the cause."""
    found = {"status_code": clean(why.code)}
    if why.cause:
        found["status_detail"] = free_text(why.cause)
    return found


def unmapped(
    actors: tuple[v.Actor, ...],
    *,
    why: v.Why | None = None,
    request_id: str | None = None,
    rule: v.Rule | None = None,
) -> Json:
    """What OCSF has no place for."""
    found: Json = {}
    if rule is not None and rule.at:
        found["rule_at"] = clean(rule.at)
    if request_id is not None:
        found["request_id"] = clean(request_id)
    if len(actors) > 1:  # a socket with several holders: policy allowed, or not, every one
        found["holders"] = len(actors)
        found["other_holders"] = [
            {"name": clean(one.binary or UNKNOWN), "pid": one.pid} for one in actors[1:ACTORS]
        ]
    if why is not None and why.remedy:
        found["remedy"] = clean(why.remedy)
    return found


def traffic(bytes_up: int, bytes_down: int) -> Json:
    """``bytes_in`` came from upstream, ``bytes_out`` went there."""
    both = bytes_up + bytes_down
    return {"traffic": {"bytes": both, "bytes_in": bytes_down, "bytes_out": bytes_up}}


def plain(number: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return round(number, 3) if isfinite(number) else None


def milliseconds(seconds: float) -> int | None:
    """As OCSF has durations and times; None for what is not finite."""
    exact = seconds * 1000
    return round(exact) if isfinite(exact) else None
