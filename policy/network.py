"""The network half of the policy as values: entries, endpoints, rules, binaries, middlewares.

Separate from policy.model because creating these classes costs more than the monitor, which asks
nothing of them, should pay. Pattern types are imported for the type checker only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from policy.address import Network
    from policy.findings import Origin
    from policy.host import HostPattern
    from policy.path import PathPattern
    from policy.query import QueryPattern

Protocol = Literal["tcp", "rest", "websocket", "graphql", "json-rpc", "mcp", "sql"]
Tls = Literal["auto", "skip"]
Enforcement = Literal["enforce", "audit"]
Access = Literal["read-only", "read-write", "full"]
Ech = Literal["tolerate", "refuse"]
OperationType = Literal["query", "mutation", "subscription", "*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRule:
    """One request of HTTP: ``method`` upper case or ``*``; each query key has alternatives."""

    method: str
    path: PathPattern
    query: tuple[tuple[str, tuple[QueryPattern, ...]], ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketRule:
    """The upgrade (method GET) or the text messages (method WEBSOCKET_TEXT) on a path."""

    method: Literal["GET", "WEBSOCKET_TEXT", "*"]
    path: PathPattern
    query: tuple[tuple[str, tuple[QueryPattern, ...]], ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphqlRule:
    """One GraphQL operation; no name or no fields means any."""

    operation_type: OperationType
    operation_name: QueryPattern | None
    fields: tuple[QueryPattern, ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRpcRule:
    """One JSON-RPC method, compared exactly, or ``*``."""

    method: str
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class McpRule:
    """One MCP method (globs only below ``tools/``); ``tools`` empty means any tool."""

    method: QueryPattern
    tools: tuple[QueryPattern, ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlRule:
    """One SQL command word. Never enforced."""

    command: str
    origin: Origin = field(compare=False)


Rule = RestRule | WebSocketRule | GraphqlRule | JsonRpcRule | McpRule | SqlRule


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistedQuery:
    """One trusted registered GraphQL query, by id or hash."""

    key: str
    operation_type: Literal["query", "mutation", "subscription"]
    operation_name: str | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """How one endpoint's requests are read; the defaults of the reference.

    ``body_limit`` is in bytes and belongs to the endpoint's protocol (GraphQL, JSON-RPC, MCP).
    """

    allow_encoded_slash: bool = False
    body_limit: int = 65536
    persisted_queries: Literal["deny", "allow_registered"] = "deny"
    registered_queries: tuple[PersistedQuery, ...] = ()
    mcp_strict_tool_names: bool = True
    mcp_allow_all_known_methods: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the endpoint asks of a credential provider. Never enforced so far."""

    websocket_rewrite: bool = False
    request_body_rewrite: bool = False
    allow_uninspected: bool = False
    signing: Literal["", "sigv4", "sigv4:body", "sigv4:no_body"] = ""
    signing_service: str = ""
    signing_region: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One destination.

    ``host`` None: any name whose addresses are in ``allowed_ips`` (never empty then).
    ``path`` None: every path. ``protocol`` None: a connection without inspection. ``access`` is
    kept as it was written; ``rules`` already holds what it stands for.
    """

    host: HostPattern | None
    ports: tuple[int, ...]
    path: PathPattern | None
    protocol: Protocol | None
    tls: Tls
    enforcement: Enforcement
    access: Access | None
    rules: tuple[Rule, ...]
    deny_rules: tuple[Rule, ...]
    allowed_ips: tuple[Network, ...]
    inspection: Inspection
    credentials: Credentials
    ech: Ech
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One executable or glob of executables; ``sha256`` empty: trusted on first use.

    Digests are 64 lower-case hexadecimal digits; any one of them is accepted.
    """

    path: PathPattern
    sha256: frozenset[str]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """One entry: any of ``binaries`` may reach any of ``endpoints``. ``key`` is unique."""

    key: str
    name: str
    endpoints: tuple[Endpoint, ...]
    binaries: tuple[Binary, ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Middleware:
    """One entry of ``network_middlewares``. Never enforced so far; ``config`` is JSON text."""

    key: str
    middleware: str
    name: str
    order: int
    on_error: Literal["fail_closed", "fail_open"]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    config: str
    origin: Origin = field(compare=False)
