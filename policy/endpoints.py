"""Endpoints: one record of the document to one endpoint of the model, with its own checks.

Checks that need several endpoints are in policy.ambiguity and policy.middlewares.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal, cast

from policy import document_codes as codes
from policy.address import CONTROL_PLANE_PORTS, HOST_GATEWAY_NAMES, Class, classify
from policy.host import HostPattern
from policy.network import (
    Credentials,
    Endpoint,
    GraphqlRule,
    Inspection,
    McpRule,
    PersistedQuery,
    RestRule,
    WebSocketRule,
)
from policy.path import PathPattern
from policy.rules import TOOLS_CALL, preset_rules, read_rule
from policy.shape import Record

if TYPE_CHECKING:
    from policy.address import Network
    from policy.network import Access, Ech, Enforcement, Protocol, Rule, Tls

_INSPECTED = frozenset({"rest", "websocket", "graphql", "json-rpc", "mcp", "sql"})
_HTTP = frozenset({"rest", "websocket", "graphql", "json-rpc", "mcp"})

# Keys that mean something only for some protocols. What is not here stands for any endpoint.
_ONLY_FOR: dict[str, frozenset[str]] = {
    "path": _INSPECTED,
    "access": frozenset({"rest", "websocket", "graphql"}),
    "rules": _INSPECTED,
    "deny_rules": _INSPECTED,
    "allow_encoded_slash": _HTTP,
    "websocket_credential_rewrite": frozenset({"rest", "websocket"}),
    "request_body_credential_rewrite": frozenset({"rest"}),
    "persisted_queries": frozenset({"graphql", "websocket"}),
    "graphql_persisted_queries": frozenset({"graphql", "websocket"}),
    "graphql_max_body_bytes": frozenset({"graphql", "websocket"}),
    "credential_signing": frozenset({"rest"}),
    "signing_service": frozenset({"rest"}),
    "signing_region": frozenset({"rest"}),
    "json_rpc": frozenset({"json-rpc"}),
    "mcp": frozenset({"mcp"}),
}
_REQUEST_KEYS = ("rules", "access", "deny_rules")
# An IPv4 /16 and an IPv6 /32 are what one organisation has; wider is rarely meant.
_WIDE = {4: 16, 6: 32}


def read_endpoint(record: Record) -> Endpoint:
    """The endpoint of one record; whatever is wrong with it is in the report."""
    protocol = cast("Protocol | None", record.get("protocol", str))
    _check_keys(record, protocol)
    inspection = _inspection(record)
    endpoint = Endpoint(
        host=record.get("host", HostPattern),
        ports=_ports(record),
        path=record.get("path", PathPattern),
        protocol=protocol,
        tls=_tls(record),
        enforcement=cast("Enforcement", record.get("enforcement", str) or "enforce"),
        access=cast("Access | None", record.get("access", str)),
        rules=_rules(record, protocol, inspection),
        deny_rules=_deny_rules(record, protocol, inspection),
        allowed_ips=cast("tuple[Network, ...]", _networks(record)),
        inspection=inspection,
        credentials=_credentials(record),
        ech=_ech(record),
        origin=record.origin,
    )
    _check_destination(record, endpoint)
    if protocol in _INSPECTED:
        _check_base(record, endpoint)
        _check_rules(record, endpoint)
    return endpoint


def _check_keys(record: Record, protocol: Protocol | None) -> None:
    """Every stated key must mean something for the protocol."""
    if record.has("protocol") and protocol is None:
        return  # the word is unknown; what it was meant to be decides about the other keys
    for name in record.places:
        known = _ONLY_FOR.get(name)
        if known is None or protocol in known:
            continue
        if protocol is None and name in _REQUEST_KEYS:
            message = f"{name!r} without a protocol: every request would be allowed"
            record.refuse(codes.RULES_WITHOUT_PROTOCOL, name, message)
        else:
            message = f"{name!r} means nothing for {_called(protocol)}"
            remedy = f"It belongs to: {', '.join(sorted(known))}."
            record.refuse(codes.KEY_NOT_FOR_PROTOCOL, name, message, remedy=remedy)
    if protocol in (None, "tcp") and record.get("enforcement", str) == "audit":
        message = f"connections are never only audited: {_called(protocol)} has no requests"
        record.refuse(codes.KEY_NOT_FOR_PROTOCOL, "enforcement", message, remedy="Remove it.")
    if protocol == "tcp" and record.has("tls"):
        message = "native TCP is never inspected, whatever 'tls' says"
        record.refuse(codes.KEY_NOT_FOR_PROTOCOL, "tls", message, remedy="Remove it.")


def _called(protocol: Protocol | None) -> str:
    return "an endpoint without protocol" if protocol is None else f"protocol {protocol}"


def _ports(record: Record) -> tuple[int, ...]:
    if record.has("port") and record.has("ports"):
        message = "'port' and 'ports' are both stated"
        record.refuse(codes.HOST_OR_ADDRESSES, "ports", message, remedy="Keep one of them.")
    elif not record.has("port") and not record.has("ports"):
        record.refuse(codes.HOST_OR_ADDRESSES, "", "the endpoint states no port")
    port = record.get("port", int)
    return tuple(sorted({*record.many("ports", int), *(() if port is None else (port,))}))


def _tls(record: Record) -> Tls:
    word = record.get("tls", str)
    if word in ("terminate", "passthrough"):
        message = f"'tls: {word}' is deprecated and means auto: inspected where the protocol asks"
        record.warn(codes.DEPRECATED, "tls", message)
    return "skip" if word == "skip" else "auto"


def _ech(record: Record) -> Ech:
    ours = record.get("supervisor", Record)
    return "refuse" if ours is not None and ours.get("ech", str) == "refuse" else "tolerate"


def _networks(record: Record) -> tuple[object, ...]:
    networks = []
    for item in record.items("allowed_ips"):
        network = item.value
        if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
            continue
        networks.append(network)
        if network.prefixlen < _WIDE[network.version]:
            message = f"{network} holds {network.num_addresses:.1e} addresses"
            record.report.add(codes.NETWORK_WIDE, item.node, item.path, message, severity="warning")
    return tuple(dict.fromkeys(networks))


def _inspection(record: Record) -> Inspection:
    queries = record.records("graphql_persisted_queries")
    mcp = record.get("mcp", Record)
    json_rpc = record.get("json_rpc", Record)
    own = mcp or json_rpc
    limit = record.get("graphql_max_body_bytes", int) or (own and own.get("max_body_bytes", int))
    default = Inspection()
    word = record.get("persisted_queries", str)
    if queries and word != "allow_registered":
        message = "queries are registered, but persisted_queries does not allow them"
        remedy = "State 'persisted_queries: allow_registered', or remove the registry."
        record.refuse(codes.CONTRADICTION, "graphql_persisted_queries", message, remedy=remedy)
    return Inspection(
        allow_encoded_slash=record.flag("allow_encoded_slash", default=False),
        body_limit=limit or default.body_limit,
        persisted_queries="allow_registered" if word == "allow_registered" else "deny",
        registered_queries=tuple(_persisted(key, queries[key]) for key in sorted(queries)),
        mcp_strict_tool_names=mcp is None or mcp.flag("strict_tool_names", default=True),
        mcp_allow_all_known_methods=mcp is not None
        and mcp.flag("allow_all_known_mcp_methods", default=False),
    )


def _persisted(key: str, record: Record) -> PersistedQuery:
    kind = record.get("operation_type", str) or "query"
    return PersistedQuery(
        key=key,
        operation_type=cast("Literal['query', 'mutation', 'subscription']", kind),
        operation_name=record.get("operation_name", str),
        fields=record.many("fields", str),
    )


def _credentials(record: Record) -> Credentials:
    binding = record.get("credential_binding", Record)
    signing = record.get("credential_signing", str) or ""
    if signing and not record.has("signing_service"):
        message = "'credential_signing' without 'signing_service'"
        record.refuse(codes.MISSING_KEY, "credential_signing", message)
    if signing and record.flag("request_body_credential_rewrite", default=False):
        message = "a signed body cannot be rewritten"
        record.refuse(codes.CONTRADICTION, "request_body_credential_rewrite", message)
    return Credentials(
        websocket_rewrite=record.flag("websocket_credential_rewrite", default=False),
        request_body_rewrite=record.flag("request_body_credential_rewrite", default=False),
        allow_uninspected=record.flag("allow_uninspected_credentials", default=False),
        signing=cast("Literal['', 'sigv4', 'sigv4:body', 'sigv4:no_body']", signing),
        signing_service=record.get("signing_service", str) or "",
        signing_region=record.get("signing_region", str) or "",
        provider=(binding.get("provider", str) or "") if binding is not None else "",
    )


def _rules(record: Record, protocol: Protocol | None, inspection: Inspection) -> tuple[Rule, ...]:
    if protocol not in _INSPECTED:
        return ()
    if record.has("rules") and record.has("access"):
        message = "'rules' and 'access' are both stated; 'access' stands for rules of its own"
        record.refuse(codes.CONTRADICTION, "access", message)
    access = cast("Access | None", record.get("access", str))
    if access is not None:
        return preset_rules(protocol, access, record.at(record.places["access"]))
    implied = inspection.mcp_allow_all_known_methods
    rules = []
    for item in record.many("rules", Record):
        matcher = item.get("allow", Record)
        rule = None if matcher is None else read_rule(matcher, protocol, method_implied=implied)
        if rule is not None:
            rules.append(rule)
    return tuple(rules)


def _deny_rules(
    record: Record, protocol: Protocol | None, inspection: Inspection
) -> tuple[Rule, ...]:
    if protocol not in _INSPECTED:
        return ()
    implied = inspection.mcp_allow_all_known_methods
    rules = (
        read_rule(matcher, protocol, method_implied=implied)
        for matcher in record.many("deny_rules", Record)
    )
    return tuple(rule for rule in rules if rule is not None)


def _check_destination(record: Record, endpoint: Endpoint) -> None:
    """Host, addresses and ports must be able to mean a destination."""
    host = endpoint.host
    if not record.has("host") and not record.has("allowed_ips"):
        record.refuse(codes.HOST_OR_ADDRESSES, "", "the endpoint states neither host nor addresses")
    address = None if host is None or host.host is None else host.host.address
    if address is not None:
        kind, _, why = classify(address)
        if kind is Class.NEVER:
            record.refuse(codes.NEVER_MATCHES, "host", f"{why}; no policy opens it")
        elif endpoint.allowed_ips and not any(address in net for net in endpoint.allowed_ips):
            message = f"the host {address} is not among its own allowed_ips"
            record.refuse(codes.NEVER_MATCHES, "allowed_ips", message)
        if endpoint.protocol == "tcp":
            message = "native TCP needs a name, because programs reach it through DNS"
            record.refuse(codes.KEY_NOT_FOR_PROTOCOL, "host", message, remedy="Write a host name.")
    closed = sorted(CONTROL_PLANE_PORTS.intersection(endpoint.ports))
    if closed and not (host is not None and host.text in HOST_GATEWAY_NAMES):
        name = "ports" if record.has("ports") else "port"
        message = f"port {closed[0]} is a cluster's control plane; no policy opens it"
        record.refuse(codes.NEVER_MATCHES, name, message)


def _check_base(record: Record, endpoint: Endpoint) -> None:
    """An inspected endpoint must allow something, and be inspected at all."""
    if endpoint.tls == "skip":
        message = "'tls: skip' is a raw tunnel: no rule of this endpoint could run"
        remedy = "Remove 'tls: skip' to have the rules, or the protocol to allow everything."
        record.refuse(codes.CONTRADICTION, "tls", message, remedy=remedy)
    allows = record.has("rules") or record.has("access")
    if endpoint.protocol == "mcp":
        allows = allows or endpoint.inspection.mcp_allow_all_known_methods
    if not allows:
        message = f"protocol {endpoint.protocol} and nothing that is allowed"
        record.refuse(codes.RULES_MISSING, "protocol", message)
    if endpoint.protocol == "sql" and endpoint.enforcement == "enforce":
        message = "SQL is never read, so it cannot be enforced"
        remedy = "State 'enforcement: audit', or use protocol tcp."
        record.refuse(codes.CONTRADICTION, "protocol", message, remedy=remedy)


def _check_rules(record: Record, endpoint: Endpoint) -> None:
    """Rules that can never apply, or that leave nothing allowed."""
    for rule in (*endpoint.rules, *endpoint.deny_rules):
        if isinstance(rule, RestRule | WebSocketRule):
            _check_reach(record, endpoint, rule)
    for denied in endpoint.deny_rules:
        if _denies_everything(denied):
            message = "this deny rule leaves nothing of the endpoint allowed"
            record.report.add(codes.NEVER_MATCHES, denied.origin, record.path, message)
    if endpoint.protocol == "mcp":
        _check_tools(record, endpoint)
    operations = any(isinstance(rule, GraphqlRule) for rule in endpoint.rules)
    if endpoint.protocol == "websocket" and operations:
        for rule in (*endpoint.rules, *endpoint.deny_rules):
            if isinstance(rule, WebSocketRule) and rule.method == "WEBSOCKET_TEXT":
                message = "with GraphQL rules, messages are operations; this rule never applies"
                record.report.add(codes.NEVER_MATCHES, rule.origin, record.path, message)


def _check_reach(record: Record, endpoint: Endpoint, rule: RestRule | WebSocketRule) -> None:
    if endpoint.path is not None and not endpoint.path.overlaps(rule.path):
        message = (
            f"the rule's path {rule.path.text} lies outside the endpoint's {endpoint.path.text}"
        )
        record.report.add(codes.NEVER_MATCHES, rule.origin, record.path, message)
    if rule.path.has_encoded_slash and not endpoint.inspection.allow_encoded_slash:
        message = f"{rule.path.text} holds %2F, which the endpoint does not accept"
        remedy = "State 'allow_encoded_slash: true', or write the path without %2F."
        record.report.add(codes.NEVER_MATCHES, rule.origin, record.path, message, remedy=remedy)


def _denies_everything(rule: Rule) -> bool:
    match rule:
        case RestRule() | WebSocketRule():
            return rule.method == "*" and rule.path.text == "**" and not rule.query
        case GraphqlRule():
            return rule.operation_type == "*" and rule.operation_name is None and not rule.fields
        case McpRule():
            return rule.method.text == "*"
    return getattr(rule, "method", "") == "*"


def _check_tools(record: Record, endpoint: Endpoint) -> None:
    """Tools: patterns need strict names, and a broad rule beside single tools hides them."""
    mcp = [rule for rule in endpoint.rules if isinstance(rule, McpRule)]
    if any(rule.tools for rule in mcp):
        for rule in mcp:
            if not rule.tools and rule.method.matches(TOOLS_CALL):
                message = f"{rule.method.text} without a tool allows every tool"
                record.report.add(codes.BROAD_TOOL_RULE, rule.origin, record.path, message)
    if endpoint.inspection.mcp_strict_tool_names:
        return
    for rule in (*mcp, *(rule for rule in endpoint.deny_rules if isinstance(rule, McpRule))):
        if any("*" in tool.text for tool in rule.tools):
            message = "a pattern for tools needs strict tool names"
            remedy = "Remove 'strict_tool_names: false', or name the tools."
            record.report.add(codes.CONTRADICTION, rule.origin, record.path, message, remedy=remedy)
