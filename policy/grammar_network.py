"""The shape of network_policies and network_middlewares: every key, and what it means."""

from __future__ import annotations

from policy.host import HostPattern
from policy.network_values import parse_digest, parse_network
from policy.path import PathPattern
from policy.query import QueryPattern
from policy.shape import Anything, Boolean, Either, Integer, Key, ListOf, MapOf, RecordOf, Text

# Names of entries appear in events, response headers and on command lines.
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
# A gibibyte: larger request bodies are not held in memory to be judged.
MAX_BODY = 1 << 30
# Far beyond what a person maintains; bounds what one list can cost.
MAX_ENDPOINTS = 20_000
MAX_RULES = 5_000
MAX_ORDER = (1 << 31) - 1  # int32, as in the reference
# The reference's bounds.
MAX_MIDDLEWARES = 10
MAX_MIDDLEWARE_PATTERNS = 32

_PORT = Integer(least=1, most=65535)
_VALUE = Text(parse=QueryPattern.parse, empty=True)
_ANY_OF = RecordOf(
    keys={
        "any": Key(
            shape=ListOf(item=_VALUE, least=1),
            about="Value patterns; one of them must match.",
            required=True,
        )
    }
)
_VALUES = Either(word=_VALUE, record=_ANY_OF)

MATCHER = RecordOf(
    keys={
        "method": Key(
            shape=Text(most=128),
            about="HTTP method in any case, or '*'; GET includes HEAD. For WebSocket: GET (the "
            "upgrade) or WEBSOCKET_TEXT. For json-rpc and mcp: the method's name.",
        ),
        "path": Key(
            shape=Text(parse=PathPattern.parse),
            about="Path pattern: '*' within a segment, '**' for whole segments.",
        ),
        "query": Key(
            shape=MapOf(item=_VALUES, key=r".{1,256}", least=1, most=64),
            about="Value patterns by query key; every value that the request gives must match.",
        ),
        "operation_type": Key(
            shape=Text(words=("query", "mutation", "subscription", "*")),
            about="GraphQL operation type.",
        ),
        "operation_name": Key(shape=_VALUE, about="Pattern for the GraphQL operation's name."),
        "fields": Key(
            shape=ListOf(item=_VALUE, least=1), about="Patterns for the selected root fields."
        ),
        "tool": Key(shape=_VALUES, about="Pattern or patterns for the MCP tool's name."),
        "params": Key(
            shape=RecordOf(keys={"name": Key(shape=_VALUES, about="The same as 'tool'.")}),
            about="The reference's other spelling of 'tool'.",
        ),
        "command": Key(shape=Text(most=64), about="SQL command word."),
    }
)

ALLOW = RecordOf(
    keys={"allow": Key(shape=MATCHER, about="What is allowed.", required=True)},
)

_PERSISTED = RecordOf(
    keys={
        "operation_type": Key(
            shape=Text(words=("query", "mutation", "subscription")),
            about="The registered operation's type.",
            required=True,
        ),
        "operation_name": Key(shape=Text(most=256), about="Its name."),
        "fields": Key(shape=ListOf(item=Text(most=256)), about="The root fields it selects."),
    }
)

_BODY_LIMIT = Integer(least=1, most=MAX_BODY)

ENDPOINT = RecordOf(
    keys={
        "host": Key(
            shape=Text(parse=HostPattern.parse),
            about="A host name, an address, or a host pattern. Absent: any name that resolves to "
            "'allowed_ips'.",
        ),
        "port": Key(shape=_PORT, about="The port; or use 'ports'."),
        "ports": Key(shape=ListOf(item=_PORT, least=1, most=1024), about="Several ports."),
        "path": Key(
            shape=Text(parse=PathPattern.parse),
            about="Which requests this endpoint judges, where several share host and port. "
            "Default: all.",
        ),
        "protocol": Key(
            shape=Text(words=("tcp", "rest", "websocket", "graphql", "json-rpc", "mcp", "sql")),
            about="How requests are read. Absent: the connection alone is judged. 'tcp': the same "
            "for programs that know no proxy.",
        ),
        "tls": Key(
            shape=Text(words=("auto", "skip", "terminate", "passthrough")),
            about="'skip': a raw tunnel, never inspected. Default 'auto'.",
        ),
        "enforcement": Key(
            shape=Text(words=("enforce", "audit")),
            about="What happens to a request that no rule allows: refuse it (enforce, the "
            "default) or let it pass and report it (audit).",
        ),
        "access": Key(
            shape=Text(words=("read-only", "read-write", "full")),
            about="A set of rules: GET HEAD OPTIONS; also POST PUT PATCH; everything.",
        ),
        "rules": Key(
            shape=ListOf(item=ALLOW, least=1, most=MAX_RULES), about="Requests that are allowed."
        ),
        "deny_rules": Key(
            shape=ListOf(item=MATCHER, least=1, most=MAX_RULES),
            about="Requests that are refused although a rule allows them.",
        ),
        "allowed_ips": Key(
            shape=ListOf(item=Text(parse=parse_network), least=1),
            about="Addresses and networks to which the host may resolve.",
        ),
        "allow_encoded_slash": Key(shape=Boolean(), about="Accept %2F inside path segments."),
        "websocket_credential_rewrite": Key(
            shape=Boolean(), about="Replace credential placeholders in WebSocket text."
        ),
        "request_body_credential_rewrite": Key(
            shape=Boolean(), about="Replace credential placeholders in request bodies."
        ),
        "allow_uninspected_credentials": Key(
            shape=Boolean(), about="Allow credentials where requests are not inspected."
        ),
        "persisted_queries": Key(
            shape=Text(words=("deny", "allow_registered")),
            about="GraphQL queries that are named by hash instead of being sent.",
        ),
        "graphql_persisted_queries": Key(
            shape=MapOf(item=_PERSISTED, key=r".{1,256}", most=1024),
            about="The registered queries, by id or hash.",
        ),
        "graphql_max_body_bytes": Key(shape=_BODY_LIMIT, about="Default: 65536."),
        "credential_signing": Key(
            shape=Text(words=("sigv4", "sigv4:body", "sigv4:no_body")),
            about="Sign requests anew with a provider's key.",
        ),
        "signing_service": Key(shape=Text(most=128), about="The service to sign for."),
        "signing_region": Key(shape=Text(most=128), about="The region to sign for."),
        "credential_binding": Key(
            shape=RecordOf(
                keys={"provider": Key(shape=Text(most=128), about="Name of the provider.")}
            ),
            about="The credential provider that the endpoint belongs to.",
        ),
        "json_rpc": Key(
            shape=RecordOf(
                keys={"max_body_bytes": Key(shape=_BODY_LIMIT, about="Default: 65536.")}
            ),
            about="How JSON-RPC is read.",
        ),
        "mcp": Key(
            shape=RecordOf(
                keys={
                    "max_body_bytes": Key(shape=_BODY_LIMIT, about="Default: 65536."),
                    "strict_tool_names": Key(
                        shape=Boolean(), about="Refuse odd tool names. Default: true."
                    ),
                    "allow_all_known_mcp_methods": Key(
                        shape=Boolean(), about="Allow every method but those the rules name."
                    ),
                }
            ),
            about="How MCP is read.",
        ),
        "supervisor": Key(
            shape=RecordOf(
                keys={
                    "ech": Key(
                        shape=Text(words=("tolerate", "refuse")),
                        about="TLS hellos with an encrypted inner hello (ECH): tolerate them when "
                        "the outer name agrees (the default) or refuse them.",
                    )
                }
            ),
            about="What the supervisor adds to an endpoint.",
        ),
    }
)

BINARY = RecordOf(
    keys={
        "path": Key(
            shape=Text(parse=PathPattern.parse_file),
            about="Absolute path of an executable, or a path pattern. '/**' is any program.",
            required=True,
        ),
        "harness": Key(shape=Boolean(), about="Deprecated and without effect."),
        "supervisor": Key(
            shape=RecordOf(
                keys={
                    "sha256": Key(
                        shape=ListOf(item=Text(parse=parse_digest, number=True), least=1, most=64),
                        about="Accepted digests of the file. Absent: trusted on first use.",
                        required=True,
                    )
                }
            ),
            about="What the supervisor adds to a binary.",
        ),
    }
)

ENTRY = RecordOf(
    keys={
        "name": Key(shape=Text(most=128), about="For display. Default: the entry's key."),
        "endpoints": Key(shape=ListOf(item=ENDPOINT, most=MAX_ENDPOINTS), about="Destinations."),
        "binaries": Key(
            shape=ListOf(item=BINARY, most=4096),
            about="Programs that may reach them, themselves or through their children.",
        ),
    }
)

NETWORK_POLICIES = MapOf(item=ENTRY, key=NAME, most=MAX_ENDPOINTS)

MIDDLEWARE = RecordOf(
    keys={
        "middleware": Key(shape=Text(most=256), about="Registered name.", required=True),
        "name": Key(shape=Text(most=128), about="For display."),
        "order": Key(
            shape=Integer(least=-MAX_ORDER - 1, most=MAX_ORDER), about="Unique. Default: 0."
        ),
        "on_error": Key(
            shape=Text(words=("fail_closed", "fail_open")), about="Default: fail_closed."
        ),
        "endpoints": Key(
            shape=RecordOf(
                keys={
                    "include": Key(
                        shape=ListOf(item=Text(most=253), least=1, most=MAX_MIDDLEWARE_PATTERNS),
                        about="Host patterns that it applies to.",
                        required=True,
                    ),
                    "exclude": Key(
                        shape=ListOf(item=Text(most=253), most=MAX_MIDDLEWARE_PATTERNS),
                        about="Host patterns that it does not apply to.",
                    ),
                }
            ),
            about="Which hosts it applies to.",
            required=True,
        ),
        "config": Key(shape=Anything(), about="The middleware's own settings."),
    }
)

NETWORK_MIDDLEWARES = MapOf(item=MIDDLEWARE, key=NAME, most=MAX_MIDDLEWARES)
