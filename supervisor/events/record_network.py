"""Records of connections, requests, names and packets. Pure."""

from supervisor.events import vocabulary as v
from supervisor.events.record_parts import (
    DENIED,
    DNS,
    FAILURE,
    HTTP,
    NETWORK,
    OTHER,
    SUCCESS,
    Body,
    Json,
    connection,
    judged,
    milliseconds,
    traffic,
    unmapped,
)
from supervisor.events.text import clean, host_name, url_path
from supervisor.events.vocabulary import Severity, Verdict

METHODS = {
    "CONNECT": 1,
    "DELETE": 2,
    "GET": 3,
    "HEAD": 4,
    "OPTIONS": 5,
    "POST": 6,
    "PUT": 7,
    "TRACE": 8,
    "PATCH": 9,
}
PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    58: "ipv6-icmp",
    132: "sctp",
    136: "udplite",
    255: "raw",
}


def opened(event: v.ConnectionOpened) -> Body:
    """See ConnectionOpened."""
    fields = connection(event.actors, event.source, event.destination)
    return Body(
        NETWORK,
        (1, "Open"),
        "connection.opened",
        Severity.INFORMATIONAL,
        SUCCESS,
        "connection allowed",
        fields | judged(Verdict.ALLOW, event.why, event.rule),
        unmapped(event.actors, request_id=event.request_id, rule=event.rule),
    )


def closed(event: v.ConnectionClosed) -> Body:
    """See ConnectionClosed."""
    fields = connection(event.actors, event.source, event.destination)
    fields |= traffic(event.bytes_up, event.bytes_down)
    fields["duration"] = milliseconds(event.seconds)
    fields["status_detail"] = clean(event.how)
    if event.rule is not None:
        fields["firewall_rule"] = {"name": clean(event.rule.entry)}
    return Body(
        NETWORK,
        (2, "Close"),
        "connection.closed",
        Severity.INFORMATIONAL,
        SUCCESS,
        "connection closed",
        fields,
        unmapped(event.actors, request_id=event.request_id, rule=event.rule),
    )


def refused(event: v.ConnectionRefused) -> Body:
    """See ConnectionRefused."""
    fields = connection(event.actors, event.source, event.destination)
    return Body(
        NETWORK,
        (5, "Refuse"),
        "connection.refused",
        Severity.MEDIUM,
        FAILURE,
        "connection refused",
        fields | judged(Verdict.DENY, event.why, event.rule),
        unmapped(event.actors, why=event.why, request_id=event.request_id, rule=event.rule),
    )


def shed(event: v.ConnectionShed) -> Body:
    """See ConnectionShed."""
    return Body(
        NETWORK,
        (5, "Refuse"),
        "connection.shed",
        Severity.MEDIUM,
        FAILURE,
        "connection refused: a limit was reached",
        {"action_id": DENIED, "action": "Denied", "status_detail": clean(event.limit)},
        {"limit": clean(event.limit), "value": event.value},
    )


def request(event: v.HttpRequest) -> Body:
    """See HttpRequest."""
    is_through = event.verdict is not Verdict.DENY
    method = clean(event.method)
    fields = connection(event.actors, event.source, event.destination)
    fields |= traffic(event.bytes_up, event.bytes_down)
    fields |= judged(event.verdict, event.why, event.rule)
    url: Json = {"scheme": "http", "path": url_path(event.path)}
    if event.destination.host is not None:
        url["hostname"] = host_name(event.destination.host)
    if event.destination.port is not None:
        url["port"] = event.destination.port
    fields["http_request"] = {"http_method": method, "url": url}
    if event.request_id is not None:
        fields["http_request"]["uid"] = clean(event.request_id)
    if event.status is not None:
        fields["http_response"] = {"code": event.status}
    activity = METHODS.get(method)
    return Body(
        HTTP,
        (OTHER, "Other") if activity is None else (activity, method.title()),
        f"http.{event.verdict.value}",
        Severity.INFORMATIONAL if event.verdict is Verdict.ALLOW else Severity.MEDIUM,
        SUCCESS if is_through else FAILURE,
        "request allowed" if is_through else "request refused",
        fields,
        unmapped(
            event.actors,
            why=None if event.verdict is Verdict.ALLOW else event.why,
            rule=event.rule,
        ),
    )


def dns(event: v.DnsRefused) -> Body:
    """See DnsRefused."""
    return Body(
        DNS,
        (2, "Response"),
        "dns.refused",
        Severity.MEDIUM,
        FAILURE,
        "name refused",
        {
            "query": {"hostname": clean(event.name), "type": clean(event.kind)},
            "rcode_id": 3,
            "rcode": "NXDomain",
            **judged(Verdict.DENY, event.why, None),
        },
        unmapped((), why=event.why),
    )


def blocked(event: v.AttemptBlocked) -> Body:
    """See AttemptBlocked."""
    fields = connection((), None, event.destination)
    fields["connection_info"]["protocol_num"] = event.protocol
    fields["connection_info"]["protocol_name"] = PROTOCOLS.get(event.protocol, "other")
    if event.uid is not None:
        fields["actor"] = {"user": {"uid": str(event.uid)}}
        if event.gid is not None:
            fields["actor"]["user"]["groups"] = [{"uid": str(event.gid)}]
    return Body(
        NETWORK,
        (5, "Refuse"),
        "attempt.blocked",
        Severity.MEDIUM,
        FAILURE,
        "blocked by the fence",
        fields | judged(Verdict.DENY, event.why, None),
        unmapped((), why=event.why),
    )


def summed(event: v.DenialsSummed) -> Body:
    """See DenialsSummed."""
    actors = (v.Actor(binary=event.binary),) if event.binary is not None else ()
    fields = connection(actors, None, v.Endpoint(host=event.host, port=event.port))
    fields["count"] = event.times
    fields["start_time"] = milliseconds(event.first)
    fields["end_time"] = milliseconds(event.last)
    return Body(
        NETWORK,
        (5, "Refuse"),
        "denials.summed",
        Severity.MEDIUM,
        FAILURE,
        "the same was refused again",
        fields | judged(Verdict.DENY, event.why, None),
        {"total": event.total, **unmapped(actors, why=event.why)},
    )
