"""One readable line from a record, for people: what happened to whom, and why.

    2026-11-21T10:00:00.123Z egress#17 MEDIUM connection.refused /usr/bin/curl(812) ->
    example.org:443 code=network.no-rule cause="..." (one line, in fact)

Every value is a plain word or a JSON string in ASCII, so none can end the line or forge a field.
The record may come from another process: whatever its fields hold, a line comes out.
"""

import time
from collections.abc import Iterator, Mapping

from supervisor.events.text import as_json, quoted

# Said elsewhere in the line; a containment report is none of one line, 'report' shows it.
_LINES_OWN = frozenset({"remedy", "report", "request_id", "rule_at"})


def line_of(record: Mapping[str, object]) -> str:
    """The line, without its end."""
    metadata = _part(record, "metadata")
    words = [
        timestamp(record.get("time")),
        f"{quoted(metadata.get('log_provider', '-'))}#{quoted(metadata.get('sequence', '-'))}",
        quoted(record.get("severity", "-")).upper(),
        quoted(metadata.get("event_code", "-")),
        *_subject(record),
    ]
    words += [f"{key}={quoted(value)}" for key, value in _facts(record) if value is not None]
    return " ".join(words)


def _subject(record: Mapping[str, object]) -> Iterator[str]:
    actor = _part(record, "actor")
    process = _part(actor, "process") or _part(record, "process")
    user = _part(actor, "user")
    if process:
        pid = process.get("pid")
        who = quoted(process.get("name", "-"))
        yield who if pid is None else f"{who}({quoted(pid)})"
    elif user:
        yield f"uid({quoted(user.get('uid', '-'))})"
    end = _part(record, "dst_endpoint")
    if end:
        host = quoted(end.get("hostname", end.get("ip", "-")))
        port = end.get("port")
        bracketed = f"[{host}]" if ":" in host else host
        yield "->"
        yield bracketed if port is None else f"{bracketed}:{quoted(port)}"
    request = _part(record, "http_request")
    if request:
        yield quoted(request.get("http_method", "-"))
        yield quoted(_part(request, "url").get("path", "-"))


def _facts(record: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The rest, shortest first."""
    traffic, unmapped = _part(record, "traffic"), _part(record, "unmapped")
    connection, query = _part(record, "connection_info"), _part(record, "query")
    yield "protocol", connection.get("protocol_name")
    yield "name", query.get("hostname")
    yield "type", query.get("type")
    yield "status", _part(record, "http_response").get("code", record.get("exit_code"))
    yield "up", traffic.get("bytes_out")
    yield "down", traffic.get("bytes_in")
    yield "ms", record.get("duration")
    yield "count", record.get("count")
    yield "rule", _part(record, "firewall_rule").get("name")
    yield "at", unmapped.get("rule_at")
    yield "id", unmapped.get("request_id", _part(record, "http_request").get("uid"))
    yield "code", record.get("status_code")
    yield "title", _part(record, "finding_info").get("title")
    yield "cause", record.get("status_detail")
    for key, value in unmapped.items():
        if key not in _LINES_OWN:
            yield quoted(key), value if isinstance(value, str | int | float) else _nested(value)
    yield "remedy", unmapped.get("remedy")


def _nested(value: object) -> str:
    try:
        return as_json(value)
    except (ValueError, RecursionError):  # an infinity, or a depth, that none of our records has
        return "?"


def _part(record: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def timestamp(milliseconds: object) -> str:
    """UTC, as RFC 3339 has it; ``-`` for what no calendar holds or is no whole number."""
    if not isinstance(milliseconds, int):
        return "-"
    try:
        moment = time.gmtime(milliseconds // 1000)
    except (OverflowError, OSError, ValueError):
        return "-"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{milliseconds % 1000:03}Z"
