"""Request rules: one matcher of the document to one rule of the model, by protocol.

A key that the protocol would ignore, and a rule that could match nothing, are errors: the reference
accepts both, and a deny rule that is ignored is an open door.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast

from policy import document_codes as codes
from policy.network import GraphqlRule, JsonRpcRule, McpRule, RestRule, SqlRule, WebSocketRule
from policy.path import PathPattern
from policy.query import QueryPattern
from policy.shape import Record

if TYPE_CHECKING:
    from policy.findings import Origin
    from policy.network import Access, OperationType, Protocol, Rule

_TRANSPORT = frozenset({"method", "path", "query"})
_OPERATION = frozenset({"operation_type", "operation_name", "fields"})

# Protocol -> the matcher's keys that mean something there.
KEYS: dict[str, frozenset[str]] = {
    "rest": _TRANSPORT,
    "websocket": _TRANSPORT | _OPERATION,
    "graphql": _OPERATION,
    "json-rpc": frozenset({"method"}),
    "mcp": frozenset({"method", "tool", "params"}),
    "sql": frozenset({"command"}),
}

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,32}|\*")  # RFC 9110 section 5.6.2, or any
_METHODS = frozenset(
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "CONNECT",
        "TRACE",
        "*",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "REPORT",
        "SEARCH",
        "MKCALENDAR",
        "ACL",
        "LINK",
        "UNLINK",
        "PURGE",
        "QUERY",
    ]
)
_MCP_METHODS = frozenset(
    [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "resources/templates/list",
        "prompts/list",
        "prompts/get",
        "logging/setLevel",
        "completion/complete",
        "roots/list",
        "sampling/createMessage",
        "elicitation/create",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/message",
        "notifications/roots/list_changed",
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/prompts/list_changed",
    ]
)
TOOLS_CALL = "tools/call"

_EVERYWHERE = PathPattern.parse("**")

_PRESETS: dict[tuple[str, Access], tuple[str, ...]] = {
    ("rest", "read-only"): ("GET", "HEAD", "OPTIONS"),
    ("rest", "read-write"): ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"),
    ("rest", "full"): ("*",),
    ("websocket", "read-only"): ("GET",),
    ("websocket", "read-write"): ("GET", "WEBSOCKET_TEXT"),
    ("websocket", "full"): ("*",),
    ("graphql", "read-only"): ("query",),
    ("graphql", "read-write"): ("query", "mutation"),
    ("graphql", "full"): ("*",),
}


def preset_rules(protocol: Protocol, access: Access, origin: Origin) -> tuple[Rule, ...]:
    """What an ``access`` word stands for; empty where the protocol has none."""
    words = _PRESETS.get((protocol, access), ())
    return tuple(_preset_rule(protocol, word, origin) for word in words)


def _preset_rule(protocol: Protocol, word: str, origin: Origin) -> Rule:
    if protocol == "rest":
        return RestRule(method=word, path=_EVERYWHERE, query=(), origin=origin)
    if protocol == "websocket":
        method = cast("Literal['GET', 'WEBSOCKET_TEXT', '*']", word)
        return WebSocketRule(method=method, path=_EVERYWHERE, query=(), origin=origin)
    kind = cast("OperationType", word)
    return GraphqlRule(operation_type=kind, operation_name=None, fields=(), origin=origin)


def read_rule(record: Record, protocol: Protocol, *, method_implied: bool) -> Rule | None:
    """The rule of one matcher; None once the report says why there is none.

    ``method_implied``: an MCP rule that names a tool need not say ``tools/call``.
    """
    known = KEYS[protocol]
    for name in record.places:
        if name not in known:
            message = f"a rule of protocol {protocol} has no {name!r}"
            remedy = f"Known for {protocol}: {', '.join(sorted(known))}."
            record.refuse(codes.KEY_NOT_FOR_PROTOCOL, name, message, remedy=remedy)
    match protocol:
        case "rest":
            return _rest(record)
        case "websocket":
            return _websocket(record)
        case "graphql":
            return _graphql(record)
        case "json-rpc":
            return _json_rpc(record)
        case "mcp":
            return _mcp(record, method_implied=method_implied)
        case "sql":
            return _sql(record)
        case "tcp":
            raise AssertionError("tcp has no rules; the endpoint refused them")


def _stated(record: Record, name: str) -> bool:
    """The key is there; reports where it is not, because the rule could then match nothing."""
    if record.has(name):
        return True
    message = f"the rule states no {name!r}, so it would match nothing"
    record.refuse(codes.NEVER_MATCHES, "", message, remedy=f"State {name!r}.")
    return False


def _method(record: Record) -> str | None:
    """An HTTP method in upper case, or ``*``."""
    method = record.get("method", str)
    if method is None:
        return None
    if not _TOKEN.fullmatch(method):
        message = f"{method[:80]!r} is not an HTTP method"
        record.refuse(codes.UNKNOWN_WORD, "method", message, remedy="Write one method, or '*'.")
        return None
    if method.upper() not in _METHODS:
        record.warn(codes.UNUSUAL_METHOD, "method", f"{method!r} is an unusual method")
    return method.upper()


def _query(record: Record) -> tuple[tuple[str, tuple[QueryPattern, ...]], ...]:
    """Query keys in order, each with its alternatives."""
    stated = record.values.get("query")
    if not isinstance(stated, dict):
        return ()
    return tuple((key, alternatives(value)) for key, value in sorted(stated.items()))


def alternatives(value: object) -> tuple[QueryPattern, ...]:
    """One pattern, or those of ``{any: […]}``."""
    if isinstance(value, Record):
        return value.many("any", QueryPattern)
    return (value,) if isinstance(value, QueryPattern) else ()


def _rest(record: Record) -> Rule | None:
    stated = [_stated(record, name) for name in ("method", "path")]
    method, path = _method(record), record.get("path", PathPattern)
    if not all(stated) or method is None or path is None:
        return None
    return RestRule(method=method, path=path, query=_query(record), origin=record.origin)


def _websocket(record: Record) -> Rule | None:
    operation = sorted(_OPERATION & record.places.keys())
    if operation and _TRANSPORT & record.places.keys():
        message = "one rule is about the connection (method, path, query) or about a GraphQL "
        message += f"operation ({', '.join(operation)}), never both"
        record.refuse(codes.CONTRADICTION, operation[0], message, remedy="Write two rules.")
        return None
    if operation:
        return _graphql(record)
    stated = [_stated(record, name) for name in ("method", "path")]
    method, path = record.get("method", str), record.get("path", PathPattern)
    if not all(stated) or method is None or path is None:
        return None
    method = method.upper()
    if method not in ("GET", "WEBSOCKET_TEXT", "*"):
        message = f"a WebSocket is opened with GET and speaks WEBSOCKET_TEXT; {method} never comes"
        record.refuse(codes.NEVER_MATCHES, "method", message)
        return None
    if method == "WEBSOCKET_TEXT" and record.has("query"):
        message = "messages have no query; only the upgrade (GET) has"
        record.refuse(codes.KEY_NOT_FOR_PROTOCOL, "query", message)
    kind = cast("Literal['GET', 'WEBSOCKET_TEXT', '*']", method)
    return WebSocketRule(method=kind, path=path, query=_query(record), origin=record.origin)


def _graphql(record: Record) -> Rule | None:
    kind = record.get("operation_type", str)
    if not _stated(record, "operation_type") or kind is None:
        return None
    return GraphqlRule(
        operation_type=cast("OperationType", kind),
        operation_name=record.get("operation_name", QueryPattern),
        fields=record.many("fields", QueryPattern),
        origin=record.origin,
    )


def _json_rpc(record: Record) -> Rule | None:
    method = record.get("method", str)
    if not _stated(record, "method") or method is None:
        return None
    if "*" in method and method != "*":
        message = f"{method!r}: methods of JSON-RPC are compared exactly; '*' stands alone"
        record.refuse(codes.NEVER_MATCHES, "method", message)
        return None
    return JsonRpcRule(method=method, origin=record.origin)


def _mcp(record: Record, *, method_implied: bool) -> Rule | None:
    tools = _tools(record)
    method = record.get("method", str)
    if method is None and not (method_implied and tools):
        _stated(record, "method")
        return None
    method = method or TOOLS_CALL
    if tools and method != TOOLS_CALL:
        message = f"only {TOOLS_CALL} names a tool, not {method}"
        record.refuse(codes.NEVER_MATCHES, "method", message, remedy=f"Write {TOOLS_CALL}.")
        return None
    if "*" in method and method != "*" and not method.startswith("tools/"):
        message = f"{method!r}: only methods below tools/ may be patterns"
        record.refuse(codes.UNKNOWN_WORD, "method", message, remedy="Write the method out.")
        return None
    if "*" not in method and method not in _MCP_METHODS:
        record.warn(codes.UNUSUAL_METHOD, "method", f"{method!r} is no method of MCP known here")
    pattern = QueryPattern.parse(method) if _sound_pattern(method) else None
    if pattern is None:
        record.refuse(codes.UNKNOWN_WORD, "method", f"{method!r} is no method of MCP")
        return None
    return McpRule(method=pattern, tools=tools, origin=record.origin)


def _sound_pattern(method: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_/*$.-]{1,128}", method) is not None and "**" not in method


def _tools(record: Record) -> tuple[QueryPattern, ...]:
    """The tool patterns, from either of the two spellings."""
    params = record.get("params", Record)
    named = () if params is None else alternatives(params.values.get("name"))
    if record.has("tool") and params is not None and params.has("name"):
        message = "'tool' and 'params.name' are two spellings of the same"
        record.refuse(codes.CONTRADICTION, "params", message)
    return alternatives(record.values.get("tool")) or named


def _sql(record: Record) -> Rule | None:
    command = record.get("command", str)
    if not _stated(record, "command") or command is None:
        return None
    return SqlRule(command=command, origin=record.origin)
