"""A policy compiled for deciding: built aside, never changed, so that a reload is one assignment.

A decision must not get slower with the number of rules: exact hosts are found in a dict, patterns
with stars in a tree of labels read from the right. What a pattern with stars contributes to a host
that is also named exactly is merged in beforehand, so the common case is one look-up. Tried one by
one are only the entries for the same host and port, and patterns that differ inside one label.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from policy import address, codes
from policy.address import AddressRule, Trust
from policy.decision import EVALUATED, NOT_EVALUATED, Admission, Decision, RuleReference
from policy.host import canonical_host
from policy.network import Binary, Endpoint, NetworkPolicy, Protocol, RestRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from policy.host import Address, Host, HostPattern
    from policy.intent import Caller, ConnectionIntent
    from policy.model import Policy
    from policy.path import PathPattern
    from policy.query import QueryPattern

# identified  an entry is for the binaries it lists; one that lists none is for nobody
# any         programs cannot be told apart here (sidecar without process access): all may
CallerMode = Literal["identified", "any"]

# The feature that a policy accepts so that connections with unread requests are allowed.
_FEATURES: dict[Protocol, str] = {"rest": "request-rules", **{one: one for one in NOT_EVALUATED}}

Protocols = dict[Protocol | None, tuple[frozenset[Protocol], frozenset[Protocol]]]

# A workload makes up names under starred domains: what is remembered of them has a bound. A name
# costs about 600 bytes.
CACHED_HOSTS = 1024

_NO_LINKS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """The binaries of one entry. ``plain`` are exact paths without pin, the usual case."""

    is_anyone: bool
    plain: frozenset[str]
    pinned: Mapping[str, frozenset[str]]
    globs: tuple[tuple[PathPattern, frozenset[str]], ...]

    def admit(self, caller: Caller | ConnectionIntent) -> bool:
        """Whether the process or one of its ancestors is listed, with the digest where pinned."""
        if self.is_anyone or caller.binary in self.plain:
            return True
        if caller.binary is None:
            return False
        if not self.plain.isdisjoint(caller.ancestors):
            return True
        return bool(self.globs or self.pinned) and any(
            self._admits(path, digest) for path, digest in _with_digests(caller)
        )

    def lists(self, caller: Caller | ConnectionIntent) -> bool:
        """The same without regard to digests: tells a changed binary from one not listed."""
        return any(
            path in self.plain
            or path in self.pinned
            or any(pattern.matches(path) for pattern, _ in self.globs)
            for path, _ in _with_digests(caller)
        )

    def _admits(self, path: str, digest: str | None) -> bool:
        if digest in self.pinned.get(path, ()):
            return True
        return any(
            (not pins or digest in pins) and pattern.matches(path) for pattern, pins in self.globs
        )


def _with_digests(caller: Caller | ConnectionIntent) -> list[tuple[str, str | None]]:
    if caller.binary is None:
        return []
    paths = (caller.binary, *caller.ancestors)
    known = caller.digests + (None,) * (len(paths) - len(caller.digests))
    return list(zip(paths, known, strict=False))


class Rule:
    """One compiled REST rule. Not a dataclass: thousands are made in one compilation."""

    __slots__ = ("is_enforced", "matches_path", "query", "reference")

    def __init__(
        self,
        matches_path: Callable[[str], bool],
        query: tuple[tuple[str, tuple[QueryPattern, ...]], ...],
        reference: RuleReference,
        *,
        is_enforced: bool,
    ) -> None:
        self.matches_path = matches_path
        self.query = query
        self.reference = reference
        self.is_enforced = is_enforced


class Rules:
    """The allow rules, or the deny rules, of one endpoint by method; ``*`` holds for the others."""

    __slots__ = ("any_method", "by_method", "has_query")

    def __init__(self, rules: tuple[tuple[str, Rule], ...]) -> None:
        self.has_query = any(rule.query for _, rule in rules)
        methods = {method for method, _ in rules} - {"*"}
        if "GET" in methods:
            methods.add("HEAD")  # a rule for GET is one for HEAD as well
        self.any_method = tuple(rule for method, rule in rules if method == "*")
        self.by_method = {
            wanted: tuple(rule for method, rule in rules if _is_for(method, wanted))
            for wanted in methods
        }

    def of(self, method: str) -> tuple[Rule, ...]:
        """The rules for ``method``, in the order of the document."""
        return self.by_method.get(method, self.any_method)


def _is_for(method: str, wanted: str) -> bool:
    return method in (wanted, "*") or (wanted == "HEAD" and method == "GET")


class RuleSet(NamedTuple):
    """All rules of one endpoint."""

    allow: Rules
    deny: Rules
    has_query: bool


class Grant:
    """One endpoint of one entry, compiled. ``decision`` answers when it is the only one to match.

    Its rules are compiled when the first request asks for them: most endpoints of a large policy
    see none, and a reload should not pay for them.
    """

    __slots__ = (
        "_rules",
        "admission",
        "callers",
        "decision",
        "endpoint",
        "entry",
        "is_inspected",
        "reference",
    )

    def __init__(
        self,
        entry: NetworkPolicy,
        endpoint: Endpoint,
        callers: Callers,
        place: int,
        protocols: Protocols,
    ) -> None:
        self.entry = entry
        self.endpoint = endpoint
        self.callers = callers
        self.reference = RuleReference(entry.key, endpoint.origin, place)
        self.is_inspected = endpoint.protocol not in (None, "tcp")
        inspect, accepted = protocols[endpoint.protocol]
        rule = _address_rule(endpoint)
        self.admission = Admission(rule, endpoint.tls, endpoint.ech, inspect, accepted)
        self.decision = self._alone()
        self._rules: RuleSet | None = None

    @property
    def rules(self) -> RuleSet:
        """The rules that can be evaluated."""
        if self._rules is None:
            part: Part = "access" if self.endpoint.access else "rules"
            allow = _compiled(self.endpoint.rules, self, part)
            deny = _compiled(self.endpoint.deny_rules, self, "deny_rules")
            self._rules = RuleSet(allow, deny, allow.has_query or deny.has_query)
        return self._rules

    def _alone(self) -> Decision:
        if not self.admission.inspect <= EVALUATED | self.admission.not_enforced:
            return Decision("deny", codes.NOT_ENFORCED, self.reference)
        host = None if self.endpoint.host is None else self.endpoint.host.host
        if host is not None and host.address is not None:
            kind, code, why = address.classify(host.address)
            if kind is address.Class.NEVER:
                return Decision("deny", code, self.reference, detail=why)
        return Decision("allow", codes.ALLOWED, self.reference, self.admission)


Part = Literal["access", "rules", "deny_rules"]


def _compiled(rules: tuple[object, ...], grant: Grant, part: Part) -> Rules:
    """The REST rules among ``rules``; the other kinds are not evaluated."""
    is_enforced = grant.endpoint.enforcement == "enforce"
    place = grant.reference.endpoint
    found = []
    for number, rule in enumerate(rules):
        if isinstance(rule, RestRule):
            index = None if part == "access" else number
            reference = RuleReference(grant.entry.key, rule.origin, place, part, index)
            compiled = Rule(rule.path.matches, rule.query, reference, is_enforced=is_enforced)
            found.append((rule.method, compiled))
    return Rules(tuple(found))


def _address_rule(endpoint: Endpoint) -> AddressRule:
    """The reference's modes: allowed_ips, an address as host, an exact host, all else.

    Its first mode, the host gateway, depends on the name that was asked for: see policy.decide.
    """
    host = None if endpoint.host is None else endpoint.host.host
    if endpoint.allowed_ips:
        return AddressRule(trust=Trust.LISTED, networks=endpoint.allowed_ips)
    if host is None:
        return address.PUBLIC_ONLY
    if host.address is not None:
        return AddressRule(trust=Trust.LISTED, networks=(ipaddress.ip_network(host.address),))
    return address.EXACT_HOST


class Node:
    """One label of the tree of starred hosts; ``grants`` are those whose known labels end here."""

    __slots__ = ("children", "grants", "star")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.star: Node | None = None
        self.grants: list[tuple[Callable[[list[str]], bool], Grant]] = []

    def add(self, grant: Grant, pattern: HostPattern) -> None:
        """Hang ``grant`` below the labels of its host, which are right to left and may be ``*``."""
        node = self
        for label in pattern.labels:
            if label == "*":
                node.star = node.star or Node()
                node = node.star
            else:
                node = node.children.setdefault(label, Node())
        node.grants.append((pattern.matches_rest, grant))

    def find(self, name: str) -> list[Grant]:
        """The grants whose pattern matches the canonical name ``name``."""
        labels = name.split(".")[::-1]
        found: list[tuple[Callable[[list[str]], bool], Grant]] = []
        nodes = [self]
        for label in labels:
            below = []
            for node in nodes:
                child = node.children.get(label)
                if child is not None:
                    below.append(child)
                    found += child.grants
                if node.star is not None:
                    below.append(node.star)
                    found += node.star.grants
            if not below:
                break
            nodes = below
        # A pattern's known labels may end before the name does, and must be meant to.
        return [grant for matches_rest, grant in found if matches_rest(labels)]


Ports = dict[int, tuple[Grant, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A compiled policy. Treat everything in it as read-only; compile_policy() makes it.

    ``exact`` maps canonical hosts to their ports. ``look_up`` answers for every other spelling and
    name: the canonical host and its ports, PatternError for what is no host. ``gateway`` is the
    rule for names of the host gateway, where one is trusted.
    """

    policy: Policy
    mode: CallerMode
    grants: tuple[Grant, ...] = field(repr=False)
    exact: Mapping[str, Ports] = field(repr=False)
    look_up: Callable[[str], tuple[str, Ports]] = field(repr=False)
    gateway: AddressRule | None

    def ports_of(self, host: Host) -> Ports:
        """The grants for ``host`` by port; empty where no rule of the policy names it."""
        return self.look_up(host.text)[1]


def compile_policy(
    policy: Policy,
    *,
    mode: CallerMode = "identified",
    links: Mapping[str, str] = _NO_LINKS,
    gateway: Address | None = None,
) -> Index:
    """Compile ``policy``.

    ``links`` maps a listed binary that is a symbolic link inside the sandbox to the file behind it
    (the kernel reports the file); both count. ``gateway`` is the address that the container's
    hosts file gives the host, trusted for HOST_GATEWAY_NAMES; PatternError unless it is
    link-local.
    """
    protocols = _protocols(policy.supervisor.accept)
    grants = tuple(
        Grant(entry, endpoint, callers, place, protocols)
        for entry in policy.network_policies
        for callers in (_callers(entry.binaries, mode, links),)
        for place, endpoint in enumerate(entry.endpoints)
    )
    exact: dict[str, list[Grant]] = {}
    starred = Node()
    hostless: list[Grant] = []
    for grant in grants:
        pattern = grant.endpoint.host
        if pattern is None:
            hostless.append(grant)
        elif pattern.host is not None:
            exact.setdefault(pattern.host.text, []).append(grant)
        else:
            starred.add(grant, pattern)
    hostless_ports = _by_port(hostless, {})
    exact_ports = _exact(exact, starred, hostless_ports)
    return Index(
        policy=policy,
        mode=mode,
        grants=grants,
        exact=exact_ports,
        look_up=_look_up(exact_ports, starred, hostless_ports),
        gateway=None if gateway is None else address.host_gateway_rule(gateway),
    )


def _look_up(
    exact: Mapping[str, Ports], starred: Node, hostless: Ports
) -> Callable[[str], tuple[str, Ports]]:
    """The way from any text to a host's ports, with a memory for the names in use."""

    def find(text: str) -> tuple[str, Ports]:
        name, literal = canonical_host(text)
        ports = exact.get(name)
        if ports is None:
            grants = [] if literal else starred.find(name)
            ports = _by_port(grants, hostless) if grants else hostless
        return name, ports

    return lru_cache(maxsize=CACHED_HOSTS)(find)


def _protocols(accepted: frozenset[str]) -> Protocols:
    """For each protocol: what to inspect, and which of it is accepted uninspected."""
    nothing: frozenset[Protocol] = frozenset()
    found: Protocols = {None: (nothing, nothing), "tcp": (nothing, nothing)}
    for protocol, feature in _FEATURES.items():
        one: frozenset[Protocol] = frozenset({protocol})
        found[protocol] = (one, one if feature in accepted else nothing)
    return found


def _callers(binaries: tuple[Binary, ...], mode: CallerMode, links: Mapping[str, str]) -> Callers:
    plain: set[str] = set()
    pinned: dict[str, frozenset[str]] = {}
    globs = []
    for binary in binaries:
        literal = binary.path.literal
        if literal is None:
            globs.append((binary.path, binary.sha256))
            continue
        for path in {literal, links.get(literal, literal)}:
            if binary.sha256:
                pinned[path] = pinned.get(path, frozenset()) | binary.sha256
            else:
                plain.add(path)
    return Callers(
        is_anyone=mode == "any", plain=frozenset(plain), pinned=pinned, globs=tuple(globs)
    )


def _exact(exact: dict[str, list[Grant]], starred: Node, hostless: Ports) -> dict[str, Ports]:
    """Per host the exact grants, with the starred and hostless ones that match it as well."""
    if not starred.children and not hostless:
        return {host: _by_port(grants, hostless) for host, grants in exact.items()}
    found = {}
    for host, grants in exact.items():
        pattern = grants[0].endpoint.host
        is_name = pattern is not None and pattern.host is not None and pattern.host.address is None
        others = starred.find(host) if is_name else []
        found[host] = _by_port([*grants, *others], hostless)
    return found


def _by_port(grants: list[Grant], hostless: Ports) -> Ports:
    if len(grants) == 1 and not hostless:
        return dict.fromkeys(grants[0].endpoint.ports, tuple(grants))
    ports: dict[int, list[Grant]] = {port: list(some) for port, some in hostless.items()}
    for grant in grants:
        for port in grant.endpoint.ports:
            ports.setdefault(port, []).append(grant)
    return {
        port: tuple(some) if len(some) == 1 else tuple(sorted(some, key=_rank))
        for port, some in ports.items()
    }


def _rank(grant: Grant) -> tuple[str, int]:
    """By key, so that the rule that is named does not depend on the order in the file."""
    return grant.entry.key, grant.reference.endpoint or 0
