"""The decision: may this process open this connection, may this request be sent.

Total functions: every question gets an answer, and where nothing says yes the answer is no.
A connection is allowed where *one* entry names both host:port and program. A request is allowed
where some rule of the matching endpoints allows it and none denies it.
"""

from __future__ import annotations

import re

from policy import codes
from policy.address import CONTROL_PLANE_PORTS, HOST_GATEWAY_NAMES
from policy.decision import EVALUATED, Admission, Decision, Verdict
from policy.findings import PatternError
from policy.index import Grant, Index, Rule
from policy.intent import Caller, CallerProblem, ConnectionIntent, RequestIntent
from policy.path import canonical_path
from policy.query import Fields, read_query

Grants = tuple[Grant, ...]

DENY: Verdict = "deny"
AUDIT: Verdict = "audit"

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}+")
_USUAL_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
_BY_NAME = codes.catalogue()
_PROBLEMS = {
    CallerProblem.VANISHED: codes.CALLER_VANISHED,
    CallerProblem.UNREADABLE: codes.CALLER_UNREADABLE,
    CallerProblem.OVER_BUDGET: codes.CALLER_OVER_BUDGET,
    CallerProblem.CHANGED: codes.CALLER_CHANGED,
}


def decide_connection(index: Index, intent: ConnectionIntent) -> Decision:
    """Whether the connection may be made; never raises.

    An allowed decision carries the admission: the addresses that may be dialled are judged by
    policy.address.judge_addresses after resolution, so that denied names are never resolved.
    """
    try:
        return _connection(index, intent)[0]
    except Exception as error:  # noqa: BLE001 - an error of the evaluator is a denial
        return Decision("deny", codes.EVALUATOR_ERROR, detail=repr(error))


def decide_request(index: Index, intent: RequestIntent) -> Decision:
    """Whether the request may be sent over its connection; never raises.

    The connection is decided again, so that a request is never judged by rules that its
    connection would no longer pass.
    """
    try:
        return _request(index, intent)
    except Exception as error:  # noqa: BLE001 - an error of the evaluator is a denial
        return Decision("deny", codes.EVALUATOR_ERROR, detail=repr(error))


# --- connections ---------------------------------------------------------------------------------


def _connection(index: Index, intent: ConnectionIntent) -> tuple[Decision, tuple[Grants, ...]]:
    """The decision, and for each holder of the connection the grants that it matched."""
    name = intent.host
    ports = index.exact.get(name)
    if ports is None:
        try:
            name, ports = index.look_up(name)
        except PatternError as error:
            return _unreadable(error), ()
    grants = ports.get(intent.port)
    if grants is None or intent.port in CONTROL_PLANE_PORTS:
        return _no_endpoint(index, intent.port, is_host_known=bool(ports)), ()
    decision, matched = _for_caller(grants, intent)
    each: tuple[Grants, ...] = (matched,)
    if intent.others:
        decision, each = _for_holders(grants, intent, decision, matched)
    if index.gateway is not None and name in HOST_GATEWAY_NAMES and decision.admission is not None:
        admission = decision.admission._replace(addresses=index.gateway)
        decision = decision._replace(admission=admission)
    return decision, each


def _no_endpoint(index: Index, port: int, *, is_host_known: bool) -> Decision:
    if not 1 <= port <= 65535:
        return Decision("deny", codes.PORT_INVALID)
    if port in CONTROL_PLANE_PORTS:
        return Decision("deny", codes.CONTROL_PLANE_PORT)
    if not index.grants:
        return Decision("deny", codes.NO_NETWORK)
    return Decision("deny", codes.PORT_NOT_ALLOWED if is_host_known else codes.HOST_NOT_ALLOWED)


def _for_caller(grants: Grants, caller: Caller | ConnectionIntent) -> tuple[Decision, Grants]:
    if caller.problem is not None:
        return Decision("deny", _PROBLEMS[caller.problem], grants[0].reference), ()
    if len(grants) == 1:
        grant = grants[0]
        if grant.callers.admit(caller):
            return grant.decision, grants
    else:
        matched = tuple(grant for grant in grants if grant.callers.admit(caller))
        if matched:
            return _combined(matched), matched
    if caller.binary is None:
        code = codes.CALLER_UNKNOWN
    elif any(grant.callers.lists(caller) for grant in grants):
        code = codes.BINARY_DIGEST
    else:
        code = codes.BINARY_NOT_ALLOWED
    return Decision("deny", code, grants[0].reference), ()


def _combined(grants: Grants) -> Decision:
    """What several matching endpoints say together: never less strict than any of them.

    Inspection by one is not undone by another. The loader refuses what contradicts itself; the
    check here makes that no condition for being safe.
    """
    first = grants[0]
    if len(grants) == 1:
        return first.decision
    others = [grant for grant in grants if grant.admission != first.admission]
    refused = next((grant for grant in grants if grant.decision.verdict == "deny"), None)
    if not others and refused is None:
        return first.decision
    inspect = first.admission.inspect.union(*(grant.admission.inspect for grant in others))
    accepted = first.admission.not_enforced.union(*(g.admission.not_enforced for g in others))
    # Where requests are read at all, those for the unread protocol are refused one by one.
    if refused is not None and (
        refused.decision.code is not codes.NOT_ENFORCED or not inspect & EVALUATED
    ):
        return refused.decision
    if any(grant.endpoint.allowed_ips != first.endpoint.allowed_ips for grant in others):
        return Decision("deny", codes.AMBIGUOUS, first.reference)
    admissions = [grant.admission for grant in grants]
    admission = Admission(
        addresses=min((a.addresses for a in admissions), key=lambda rule: _REACH[rule.trust.value]),
        tls="skip" if all(a.tls == "skip" for a in admissions) else "auto",
        ech="refuse" if any(a.ech == "refuse" for a in admissions) else "tolerate",
        inspect=inspect,
        not_enforced=accepted,
    )
    return Decision("allow", codes.ALLOWED, first.reference, admission)


# Which of several rules holds: a network list before all, then the host that is named exactly.
_REACH = {"gateway": 0, "listed": 1, "exact-host": 2, "public": 3}


def _for_holders(
    grants: Grants, intent: ConnectionIntent, decision: Decision, matched: Grants
) -> tuple[Decision, tuple[Grants, ...]]:
    """Every process that holds the socket must be allowed, and to the same."""
    each = [matched]
    for caller in intent.others:
        if decision.verdict == "deny":
            return decision, ()
        other, others_grants = _for_caller(grants, caller)
        if other.verdict == "deny":
            return other, ()
        if other.admission != decision.admission:
            return Decision("deny", codes.HOLDERS_DIFFER, other.rule), ()
        each.append(others_grants)
    return decision, tuple(each)


def _unreadable(error: PatternError) -> Decision:
    return Decision("deny", _BY_NAME[error.code], detail=error.message)


# --- requests ------------------------------------------------------------------------------------


def _request(index: Index, intent: RequestIntent) -> Decision:
    connection, each = _connection(index, intent.connection)
    if connection.verdict == "deny":
        return connection
    worst = _for_grants(each[0], intent)
    for grants in each[1:]:
        decision = _for_grants(grants, intent)
        if _RANK[decision.verdict] > _RANK[worst.verdict]:
            worst = decision
    return worst


_RANK = {"allow": 0, "audit": 1, "deny": 2}


def _for_grants(grants: Grants, intent: RequestIntent) -> Decision:
    """One holder's request, judged by all the endpoints that it matched."""
    inspected = [grant for grant in grants if grant.is_inspected]
    if not inspected:
        first = grants[0]
        return Decision("allow", codes.REQUEST_UNINSPECTED, first.reference, first.admission)
    if intent.method not in _USUAL_METHODS:
        if not _METHOD.fullmatch(intent.method):
            return Decision("deny", codes.METHOD_INVALID, detail=repr(intent.method[:40]))
        if intent.method in _REFUSED_METHODS:
            return Decision("deny", codes.METHOD_REFUSED)
    try:
        path = _path(inspected, intent)
    except PatternError as error:
        return _unreadable(error)
    routes = [g for g in inspected if g.endpoint.path is None or g.endpoint.path.matches(path)]
    if not routes:
        return Decision("deny", codes.NO_ROUTE, inspected[0].reference, path=path)
    chosen = routes[0] if len(routes) == 1 else max(routes, key=_specificity)
    if "%2F" in path and not chosen.endpoint.inspection.allow_encoded_slash:
        return Decision("deny", codes.PATH_ENCODED_SLASH, chosen.reference)
    return _by_rules(routes, chosen, intent, path)


def _path(inspected: list[Grant], intent: RequestIntent) -> str:
    if intent.path == "*" and intent.method == "OPTIONS":
        return "*"
    for grant in inspected:
        if grant.endpoint.inspection.allow_encoded_slash:
            return canonical_path(intent.path, encoded_slash=True)
    return canonical_path(intent.path)


def _specificity(grant: Grant) -> int:
    return 0 if grant.endpoint.path is None else grant.endpoint.path.specificity


def _by_rules(routes: list[Grant], chosen: Grant, intent: RequestIntent, path: str) -> Decision:
    """Deny rules of every matching endpoint first, then allow rules; the rest is refused."""
    method = intent.method
    readings: tuple[Fields, ...] | None = ((),)
    rule_sets = [route.rules for route in routes]
    for rules in rule_sets:
        if rules.has_query:
            readings = _readings(intent.query)
            break
    enforced = chosen.endpoint.enforcement == "enforce"
    for rules in rule_sets:
        for rule in rules.deny.of(method):
            if rule.matches_path(path) and (not rule.query or _denies_query(rule, readings)):
                # Audit holds only where both the rule's endpoint and the chosen one say so.
                verdict = DENY if enforced or rule.is_enforced else AUDIT
                return Decision(verdict, codes.REQUEST_DENIED, rule.reference, path=path)
    if not chosen.admission.inspect <= EVALUATED:
        return _not_evaluated(chosen, path)
    for rules in rule_sets:
        for rule in rules.allow.of(method):
            if rule.matches_path(path) and (not rule.query or _allows_query(rule, readings)):
                return Decision("allow", codes.REQUEST_ALLOWED, rule.reference, None, path)
    verdict = DENY if enforced else AUDIT
    return Decision(verdict, codes.REQUEST_NOT_ALLOWED, chosen.reference, path=path)


def _not_evaluated(chosen: Grant, path: str) -> Decision:
    """An endpoint whose requests nobody can judge: as the policy accepts it, or not at all."""
    if chosen.admission.not_enforced:
        code = codes.REQUEST_UNINSPECTED
        return Decision("allow", code, chosen.reference, chosen.admission, path)
    return Decision("deny", codes.NOT_ENFORCED, chosen.reference, path=path)


def _readings(query: str) -> tuple[Fields, ...] | None:
    """None for a query that cannot be read: then no allow rule about it holds, every deny rule does."""
    try:
        return read_query(query)
    except PatternError:
        return None


def _allows_query(rule: Rule, readings: tuple[Fields, ...] | None) -> bool:
    """Each key of the rule is present and all its values match, in every reading."""
    if readings is None:
        return False
    for fields in readings:
        for key, patterns in rule.query:
            values = [value for name, value in fields if name == key]
            if not values or not all(any(p.matches(v) for p in patterns) for v in values):
                return False
    return True


def _denies_query(rule: Rule, readings: tuple[Fields, ...] | None) -> bool:
    """Each key of the rule is present and at least one of its values matches, in some reading."""
    if readings is None:
        return True
    return any(
        all(
            any(name == key and any(p.matches(v) for p in patterns) for name, v in fields)
            for key, patterns in rule.query
        )
        for fields in readings
    )
