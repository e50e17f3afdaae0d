"""A policy written back as a document: defaults applied, presets expanded, each part with its origin.

``document_of`` gives plain data that loads to a policy with the same decisions; ``as_yaml`` writes it
with the origins as comments.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from policy.model import Limits, Require, Syscalls
from policy.network import (
    Credentials,
    GraphqlRule,
    Inspection,
    JsonRpcRule,
    McpRule,
    RestRule,
    SqlRule,
    WebSocketRule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policy.findings import Origin
    from policy.model import Extensions, PathEntry, Policy
    from policy.network import Binary, Endpoint, Middleware, NetworkPolicy, Rule
    from policy.query import QueryPattern


class Marked(NamedTuple):
    """A part of the document with the place that it comes from."""

    value: Shown
    origin: Origin


Shown = bool | int | str | list["Shown"] | dict[str, "Shown"] | Marked


def document_of(policy: Policy) -> Shown:
    """The whole policy; parts that have an origin are Marked."""
    filesystem = policy.filesystem
    process = {
        name: value
        for name in ("run_as_user", "run_as_group")
        if (value := getattr(policy.process, name)) is not None
    }
    shown: dict[str, Shown] = {
        "version": policy.version,
        "filesystem_policy": {
            "include_workdir": filesystem.include_workdir,
            "read_only": _paths(filesystem.read_only),
            "read_write": _paths(filesystem.read_write),
        },
        "landlock": {"compatibility": policy.landlock},
    }
    if process:
        shown["process"] = Marked(process, policy.process.origin)
    shown["network_policies"] = {entry.key: _entry(entry) for entry in policy.network_policies}
    if policy.middlewares:
        shown["network_middlewares"] = {it.key: _middleware(it) for it in policy.middlewares}
    if extensions := _extensions(policy.supervisor):
        shown["supervisor"] = extensions
    return shown


def plain(shown: Shown) -> object:
    """The same without origins, as JSON can carry it."""
    match shown:
        case Marked():
            return plain(shown.value)
        case dict():
            return {key: plain(value) for key, value in shown.items()}
        case list():
            return [plain(item) for item in shown]
    return shown


def _paths(entries: tuple[PathEntry, ...]) -> list[Shown]:
    return [Marked(entry.path, entry.origin) for entry in entries]


def _extensions(extensions: Extensions) -> dict[str, Shown]:
    """``supervisor`` without the presets, which are expanded, and without what is unstated."""
    shown: dict[str, Shown] = {}
    require = extensions.require
    if require != Require():
        stated: dict[str, Shown] = {}
        if require.fence is not None:
            stated["fence"] = require.fence
        if require.landlock_abi is not None:
            stated["landlock_abi"] = require.landlock_abi
        if require.controls:
            stated["controls"] = [*sorted(require.controls)]
        shown["require"] = stated
    if extensions.accept:
        shown["accept"] = [*sorted(extensions.accept)]
    if extensions.limits != Limits():
        limits = ((name, getattr(extensions.limits, name)) for name in ("nofile", "fsize", "nproc"))
        shown["limits"] = {name: value for name, value in limits if value is not None}
    if extensions.loopback is not None:
        shown["loopback"] = [*extensions.loopback]
    if extensions.syscalls != Syscalls():
        shown["syscalls"] = {
            "nested_sandbox": extensions.syscalls.nested_sandbox,
            "debugger": extensions.syscalls.debugger,
        }
    return shown


def _entry(entry: NetworkPolicy) -> Shown:
    shown: dict[str, Shown] = {} if entry.name == entry.key else {"name": entry.name}
    shown["endpoints"] = [Marked(_endpoint(it), it.origin) for it in entry.endpoints]
    shown["binaries"] = [Marked(_binary(it), it.origin) for it in entry.binaries]
    return Marked(shown, entry.origin)


def _binary(binary: Binary) -> Shown:
    shown: dict[str, Shown] = {"path": binary.path.text}
    if binary.sha256:
        shown["supervisor"] = {"sha256": [*sorted(binary.sha256)]}
    return shown


def _endpoint(endpoint: Endpoint) -> Shown:
    shown: dict[str, Shown] = {}
    if endpoint.host is not None:
        shown["host"] = endpoint.host.text
    shown["ports"] = [*endpoint.ports]
    if endpoint.path is not None:
        shown["path"] = endpoint.path.text
    if endpoint.protocol is not None:
        shown["protocol"] = endpoint.protocol
    if endpoint.tls != "auto":
        shown["tls"] = endpoint.tls
    if endpoint.protocol not in (None, "tcp"):
        shown["enforcement"] = endpoint.enforcement
    if endpoint.rules:
        shown["rules"] = [Marked({"allow": _rule(it)}, it.origin) for it in endpoint.rules]
    if endpoint.deny_rules:
        shown["deny_rules"] = [Marked(_rule(it), it.origin) for it in endpoint.deny_rules]
    if endpoint.allowed_ips:
        shown["allowed_ips"] = [str(network) for network in endpoint.allowed_ips]
    shown.update(_inspection(endpoint))
    shown.update(_credentials(endpoint.credentials))
    if endpoint.ech != "tolerate":
        shown["supervisor"] = {"ech": endpoint.ech}
    return shown


def _inspection(endpoint: Endpoint) -> dict[str, Shown]:
    inspection, default = endpoint.inspection, Inspection()
    shown: dict[str, Shown] = {}
    if inspection.allow_encoded_slash:
        shown["allow_encoded_slash"] = True
    if inspection.persisted_queries != default.persisted_queries:
        shown["persisted_queries"] = inspection.persisted_queries
    if inspection.registered_queries:
        shown["graphql_persisted_queries"] = {
            query.key: _stated(
                operation_type=query.operation_type,
                operation_name=query.operation_name or "",
                fields=[*query.fields],
            )
            for query in inspection.registered_queries
        }
    limit = inspection.body_limit
    if endpoint.protocol == "mcp":
        shown["mcp"] = {
            "max_body_bytes": limit,
            "strict_tool_names": inspection.mcp_strict_tool_names,
            "allow_all_known_mcp_methods": inspection.mcp_allow_all_known_methods,
        }
    elif endpoint.protocol == "json-rpc":
        shown["json_rpc"] = {"max_body_bytes": limit}
    elif limit != default.body_limit:
        shown["graphql_max_body_bytes"] = limit
    return shown


def _credentials(credentials: Credentials) -> dict[str, Shown]:
    shown = _stated(
        websocket_credential_rewrite=credentials.websocket_rewrite,
        request_body_credential_rewrite=credentials.request_body_rewrite,
        allow_uninspected_credentials=credentials.allow_uninspected,
        credential_signing=credentials.signing,
        signing_service=credentials.signing_service,
        signing_region=credentials.signing_region,
    )
    if credentials.provider:
        shown["credential_binding"] = {"provider": credentials.provider}
    return shown


def _stated(**values: Shown) -> dict[str, Shown]:
    """The values that say something."""
    return {name: value for name, value in values.items() if value}


def _rule(rule: Rule) -> Shown:
    match rule:
        case RestRule() | WebSocketRule():
            shown = _stated(method=rule.method, path=rule.path.text)
            if rule.query:
                shown["query"] = {key: _any_of(patterns) for key, patterns in rule.query}
            return shown
        case GraphqlRule():
            shown = {"operation_type": rule.operation_type}
            if rule.operation_name is not None:
                shown["operation_name"] = rule.operation_name.text
            if rule.fields:
                shown["fields"] = [field.text for field in rule.fields]
            return shown
        case JsonRpcRule():
            return {"method": rule.method}
        case McpRule():
            shown = {"method": rule.method.text}
            if rule.tools:
                shown["tool"] = _any_of(rule.tools)
            return shown
        case SqlRule():
            return {"command": rule.command}


def _any_of(patterns: tuple[QueryPattern, ...]) -> Shown:
    if len(patterns) == 1:
        return patterns[0].text
    return {"any": [pattern.text for pattern in patterns]}


def _middleware(middleware: Middleware) -> Shown:
    endpoints: dict[str, Shown] = {"include": [*middleware.include]}
    if middleware.exclude:
        endpoints["exclude"] = [*middleware.exclude]
    shown: dict[str, Shown] = {
        "middleware": middleware.middleware,
        "name": middleware.name,
        "order": middleware.order,
        "on_error": middleware.on_error,
        "endpoints": endpoints,
        "config": json.loads(middleware.config),
    }
    return Marked(shown, middleware.origin)


# --- text ---------------------------------------------------------------------------------------


def as_yaml(shown: Shown) -> str:
    """YAML that loads again; ``# from FILE:LINE`` behind each part that has an origin."""
    return "".join(f"{line}\n" for line in _lines(shown, ""))


def _lines(shown: Shown, indent: str) -> Iterable[str]:
    """The lines of a map or list in block style."""
    value = shown.value if isinstance(shown, Marked) else shown
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _item(f"{indent}{_key(key)}:", below, indent + "  ")
    elif isinstance(value, list):
        for below in value:
            yield from _item(f"{indent}-", below, indent + "  ")


def _item(head: str, shown: Shown, indent: str) -> Iterable[str]:
    """``head`` and what stands behind it: on the same line where it is short."""
    value = shown.value if isinstance(shown, Marked) else shown
    note = f"  # from {shown.origin.file}:{shown.origin.line}" if isinstance(shown, Marked) else ""
    if _is_small(value):
        yield f"{head} {json.dumps(plain(value), ensure_ascii=False)}{note}"
        return
    yield f"{head}{note}"
    yield from _lines(value, indent)


def _is_small(value: Shown) -> bool:
    """Without parts that have an origin of their own, and without an endpoint's many keys."""
    if isinstance(value, dict):
        return len(value) < 4 and all(_is_small(below) for below in value.values())
    if isinstance(value, list):
        return all(_is_small(below) for below in value)
    return not isinstance(value, Marked)


def _key(key: str) -> str:
    """A key; JSON's quoting is YAML's."""
    is_plain = key.isascii() and key.replace("_", "").isalpha()
    return key if is_plain else json.dumps(key, ensure_ascii=False)
