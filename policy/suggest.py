"""Why a decision came out as it did, and the smallest change of the policy that would allow it.

Nothing here decides: an explanation holds what policy.decide answered. The work of finding a change
is done only when somebody asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from policy import codes
from policy.decide import decide_connection, decide_request
from policy.decision import NOT_EVALUATED
from policy.findings import PatternError
from policy.host import canonical_host
from policy.intent import RequestIntent
from policy.network import RestRule
from policy.path import canonical_path
from policy.query import MAX_PATTERN, read_query

if TYPE_CHECKING:
    from policy.codes import Code
    from policy.decision import Decision
    from policy.findings import Origin
    from policy.index import Grant, Index
    from policy.intent import ConnectionIntent

# change-request   no change of the policy allows it; the request or the caller must change
# change-policy    the policy contradicts itself, or forbids it expressly: a person must decide
# the others       what to add, and ``value`` is that piece of the document
Action = Literal[
    "add-entry",
    "add-port",
    "add-binary",
    "add-digest",
    "add-rule",
    "replace-access",
    "add-endpoint",
    "allow-encoded-slash",
    "accept-feature",
    "change-policy",
    "change-request",
]

# What an explanation quotes of each text that the workload chose: enough to recognise it.
MAX_SHOWN = 200

_STARS = re.compile(r"[*?\[\]{}\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One change. ``path`` is its place in the document's structure, ``value`` plain JSON data."""

    action: Action
    text: str
    path: str | None = None
    origin: Origin | None = None
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with its cause in words and, for what was not allowed, the smallest change."""

    decision: Decision
    cause: str
    suggestion: Suggestion | None

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of ``policy explain``."""
        decision, suggestion = self.decision, self.suggestion
        return {
            "verdict": decision.verdict,
            "code": decision.code.name,
            "cause": self.cause,
            "rule": None
            if decision.rule is None
            else {"path": decision.rule.path, **_place(decision.rule.origin)},
            "request_path": decision.path,
            "connection": None if decision.admission is None else _admission(decision),
            "suggestion": None
            if suggestion is None
            else {
                "action": suggestion.action,
                "text": suggestion.text,
                "path": suggestion.path,
                **(_place(suggestion.origin) if suggestion.origin else {}),
                "value": suggestion.value,
            },
        }


def _place(origin: Origin) -> dict[str, Any]:
    return {"file": origin.file, "line": origin.line, "column": origin.column}


def _admission(decision: Decision) -> dict[str, Any] | None:
    if decision.admission is None:
        return None
    return {
        "addresses": decision.admission.addresses.trust.value,
        "networks": [str(network) for network in decision.admission.addresses.networks],
        "tls": decision.admission.tls,
        "ech": decision.admission.ech,
        "inspect": sorted(decision.admission.inspect),
        "not_enforced": sorted(decision.admission.not_enforced),
    }


def explain(index: Index, intent: ConnectionIntent | RequestIntent) -> Explanation:
    """Decide ``intent`` and explain the answer. Total, as the decision is."""
    if isinstance(intent, RequestIntent):
        decision = decide_request(index, intent)
    else:
        decision = decide_connection(index, intent)
    return Explanation(
        decision=decision,
        cause=_cause(intent, decision),
        suggestion=suggest(index, intent, decision),
    )


def _cause(intent: ConnectionIntent | RequestIntent, decision: Decision) -> str:
    """What was asked for, and what the code says about it; the query may hold secrets and stays out."""
    connection = intent.connection if isinstance(intent, RequestIntent) else intent
    subject = f"{_shown(connection.host)}:{connection.port}"
    if isinstance(intent, RequestIntent):
        subject = f"{_shown(intent.method)} {subject}{_shown(decision.path or intent.path)}"
    if connection.binary is not None:
        subject += f" by {_shown(connection.binary)}"
    detail = f" ({decision.detail})" if decision.detail else ""
    return f"{subject}: {decision.code.meaning}{detail}"


def _shown(text: str) -> str:
    """Text of the workload's choosing, safe to print on one line."""
    text = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return text if text.isprintable() and " " not in text else repr(text)


def suggest(
    index: Index, intent: ConnectionIntent | RequestIntent, decision: Decision
) -> Suggestion | None:
    """The smallest change that would allow ``intent``; None where it is allowed already."""
    if decision.verdict == "allow":
        return None
    if not isinstance(intent, RequestIntent):
        return _for_connection(index, intent, None, decision)
    grant = _grant(index, decision)
    match decision.code:
        case codes.REQUEST_NOT_ALLOWED if grant is not None:
            return _add_rule(grant, intent, decision)
        case codes.NO_ROUTE if grant is not None:
            return _add_endpoint(grant, intent, decision)
        case codes.PATH_ENCODED_SLASH if grant is not None:
            return _allow_slash(grant)
        case _:
            return _for_connection(index, intent.connection, intent, decision)


def _for_connection(
    index: Index,
    connection: ConnectionIntent,
    request: RequestIntent | None,
    decision: Decision,
) -> Suggestion:
    code = decision.code
    if code in (codes.NO_NETWORK, codes.HOST_NOT_ALLOWED):
        return _add_entry(connection, request)
    if code is codes.PORT_NOT_ALLOWED:
        return _add_port(index, connection, request)
    grant = _grant(index, decision)
    if grant is not None and code in (codes.BINARY_NOT_ALLOWED, codes.BINARY_DIGEST):
        return _add_binary(grant, connection, code)
    if grant is not None and code is codes.NOT_ENFORCED:
        return _accept(index, connection, code)
    return _by_hand(decision)


def _grant(index: Index, decision: Decision) -> Grant | None:
    """The endpoint that the decision is about."""
    if decision.rule is None:
        return None
    wanted = decision.rule.entry, decision.rule.endpoint
    return next((g for g in index.grants if g.reference.place == wanted), None)


def _by_hand(decision: Decision) -> Suggestion:
    is_forbidden = decision.code in (codes.REQUEST_DENIED, codes.AMBIGUOUS)
    return Suggestion(
        action="change-policy" if is_forbidden else "change-request",
        text=decision.code.remedy,
        path=decision.rule.path if is_forbidden and decision.rule else None,
        origin=decision.rule.origin if is_forbidden and decision.rule else None,
    )


def _add_entry(connection: ConnectionIntent, request: RequestIntent | None) -> Suggestion:
    """An entry of its own, because an endpoint in another one would open it to that one's programs."""
    if connection.binary is None:
        return Suggestion(action="change-request", text=codes.CALLER_UNKNOWN.remedy)
    endpoint = _endpoint(connection)
    if request is not None:
        try:
            path = canonical_path(request.path)
        except PatternError as error:
            return Suggestion(action="change-request", text=error.remedy)
        endpoint |= {"protocol": "rest", "rules": [_allow(request, path)]}
    name = re.sub(r"[^a-z0-9]+", "_", f"{endpoint['host']}_{connection.port}").strip("_")
    value = {name: {"endpoints": [endpoint], "binaries": [{"path": connection.binary}]}}
    return Suggestion(
        action="add-entry",
        text=f"Add an entry for {endpoint['host']}:{connection.port} and {connection.binary}.",
        path="network_policies",
        value=value,
    )


def _endpoint(connection: ConnectionIntent) -> dict[str, Any]:
    return {"host": canonical_host(connection.host).text, "port": connection.port}


def _add_port(
    index: Index, connection: ConnectionIntent, request: RequestIntent | None
) -> Suggestion:
    host = canonical_host(connection.host)
    for grant in index.grants:
        pattern = grant.endpoint.host
        if pattern is not None and pattern.matches(host) and grant.callers.admit(connection):
            return Suggestion(
                action="add-port",
                text=f"Add port {connection.port} to the endpoint's ports.",
                path=f"{grant.reference.path}.ports",
                origin=grant.endpoint.origin,
                value=[*grant.endpoint.ports, connection.port],
            )
    return _add_entry(connection, request)


def _add_binary(grant: Grant, connection: ConnectionIntent, code: Code) -> Suggestion:
    others = len(grant.entry.endpoints) - 1
    widened = f" This opens the entry's {others} other endpoint(s) to it as well." if others else ""
    value: dict[str, Any] = {"path": connection.binary}
    if code is codes.BINARY_DIGEST:
        digest = connection.digests[0] if connection.digests else None
        value["sha256"] = digest
        if digest is None:
            return Suggestion(action="change-request", text=code.remedy)
    return Suggestion(
        action="add-binary" if code is codes.BINARY_NOT_ALLOWED else "add-digest",
        text=f"Add {connection.binary} to the binaries of {grant.entry.key}.{widened}",
        path=f"network_policies.{grant.entry.key}.binaries",
        origin=grant.entry.origin,
        value=value,
    )


def _accept(index: Index, connection: ConnectionIntent, code: Code) -> Suggestion:
    """Every protocol that the host and port ask for, so that one acceptance is enough."""
    _, ports = index.look_up(connection.host)
    grants = ports.get(connection.port, ())
    asked = sorted({str(g.endpoint.protocol) for g in grants if g.admission.inspect})
    return Suggestion(
        action="accept-feature",
        text=code.remedy,
        path="supervisor.accept",
        value=[protocol for protocol in asked if protocol in NOT_EVALUATED],
    )


def _add_rule(grant: Grant, request: RequestIntent, decision: Decision) -> Suggestion:
    new = _allow(request, decision.path or request.path)
    origin = grant.endpoint.origin
    if grant.endpoint.access is None:
        return Suggestion(
            action="add-rule",
            text=f"Add an allow rule for {request.method} {decision.path}.",
            path=f"{grant.reference.path}.rules",
            origin=origin,
            value=new,
        )
    kept = [
        {"allow": {"method": rule.method, "path": rule.path.text}}
        for rule in grant.endpoint.rules
        if isinstance(rule, RestRule)
    ]
    return Suggestion(
        action="replace-access",
        text=f"Write access: {grant.endpoint.access} as rules, and add one for this request.",
        path=grant.reference.path,
        origin=origin,
        value={"rules": [*kept, new]},
    )


def _add_endpoint(grant: Grant, request: RequestIntent, decision: Decision) -> Suggestion:
    path = decision.path or request.path
    endpoint = _endpoint(request.connection) | {
        "path": path,
        "protocol": "rest",
        "rules": [_allow(request, path)],
    }
    return Suggestion(
        action="add-endpoint",
        text=f"Add an endpoint for the path {path}.",
        path=f"network_policies.{grant.entry.key}.endpoints",
        origin=grant.entry.origin,
        value=endpoint,
    )


def _allow_slash(grant: Grant) -> Suggestion:
    return Suggestion(
        action="allow-encoded-slash",
        text=codes.PATH_ENCODED_SLASH.remedy,
        path=f"{grant.reference.path}.allow_encoded_slash",
        origin=grant.endpoint.origin,
        value=True,
    )


def _allow(request: RequestIntent, path: str) -> dict[str, Any]:
    """The narrowest rule for the request: its method, path and, where it can be said, its query."""
    rule: dict[str, Any] = {"method": request.method, "path": "**" if path == "*" else path}
    if query := _query(request.query):
        rule["query"] = query
    return {"allow": rule}


def _query(text: str) -> dict[str, Any]:
    try:
        readings = read_query(text)
    except PatternError:
        return {}
    if len(readings) > 1:
        return {}
    values: dict[str, list[str]] = {}
    for key, value in readings[0]:
        values.setdefault(key, []).append(value)
    if any(_STARS.search(v) or len(v) > MAX_PATTERN for some in values.values() for v in some):
        return {}
    return {key: some[0] if len(some) == 1 else {"any": some} for key, some in values.items()}
