"""Endpoints that apply to the same traffic of the same program must agree on how it is handled.

Rules add up, so they may differ; how a connection is carried and how its requests are read cannot
be two things at once. Entries whose programs cannot be the same are left alone, which the reference
does not do. (A process that matches two such entries through an ancestor is decided strictly.)
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from policy import document_codes as codes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from policy.findings import Report
    from policy.network import Endpoint, NetworkPolicy

# Only endpoints with different settings on one port are compared. A policy of 1 MiB that needs more
# comparisons than this was made to need them; they take about a second.
MAX_COMPARISONS = 500_000


class _Member(NamedTuple):
    """An endpoint within its entry."""

    entry: NetworkPolicy
    endpoint: Endpoint


def check_ambiguity(policies: tuple[NetworkPolicy, ...], report: Report) -> None:
    """Report each endpoint that contradicts an earlier one."""
    members = [_Member(entry, endpoint) for entry in policies for endpoint in entry.endpoints]
    reported: set[int] = set()
    budget = MAX_COMPARISONS
    for left, right in _candidates(members):
        budget -= 1
        if budget < 0:
            message = f"more than {MAX_COMPARISONS} pairs of endpoints with different settings"
            report.add(codes.TOO_LARGE, left.endpoint.origin, "network_policies", message)
            return
        later = max(left, right, key=lambda m: (m.endpoint.origin.line, m.endpoint.origin.column))
        if id(later.endpoint) in reported:
            continue
        difference = _difference(left.endpoint, right.endpoint)
        if difference and _meet(left, right):
            reported.add(id(later.endpoint))
            earlier = left if later is right else right
            message = f"differs in {difference} from the endpoint at {earlier.endpoint.origin}"
            path = f"network_policies.{later.entry.key}"
            report.add(codes.AMBIGUOUS, later.endpoint.origin, path, message)


def _candidates(members: list[_Member]) -> Iterator[tuple[_Member, _Member]]:
    """Pairs on one port whose settings differ and whose exact hosts, if they have any, are equal."""
    by_port: dict[int, dict[Hashable, list[_Member]]] = defaultdict(lambda: defaultdict(list))
    for member in members:
        key = (_connection(member.endpoint), _request(member.endpoint), member.endpoint.path)
        for port in member.endpoint.ports:
            by_port[port][key].append(member)
    for groups in by_port.values():
        if len(groups) < 2:
            continue
        ordered = list(groups.values())
        everyone = _ByHost()
        for group in ordered:
            for member in group:
                for other in everyone.that_may_meet(member):
                    yield other, member
            for member in group:
                everyone.add(member)


class _ByHost:
    """Members of the groups seen so far: exact hosts by name, the others in a list."""

    def __init__(self) -> None:
        self.exact: dict[str, list[_Member]] = defaultdict(list)
        self.wide: list[_Member] = []

    def add(self, member: _Member) -> None:
        host = member.endpoint.host
        if host is not None and host.is_exact:
            self.exact[host.text].append(member)
        else:
            self.wide.append(member)

    def that_may_meet(self, member: _Member) -> Iterator[_Member]:
        host = member.endpoint.host
        yield from self.wide
        if host is not None and host.is_exact:
            yield from self.exact.get(host.text, ())
        else:
            for group in self.exact.values():
                yield from group


def _connection(endpoint: Endpoint) -> Hashable:
    """What must be the same for every endpoint that one connection matches."""
    networks = frozenset(endpoint.allowed_ips)
    return endpoint.protocol == "tcp", endpoint.tls, networks, endpoint.ech


def _request(endpoint: Endpoint) -> Hashable:
    """What must be the same for every inspected endpoint that one request matches."""
    if endpoint.protocol in (None, "tcp"):
        return None
    return endpoint.protocol, endpoint.enforcement, endpoint.inspection, endpoint.credentials


def _difference(left: Endpoint, right: Endpoint) -> str:
    """What two endpoints disagree about, '' when nothing."""
    names = ("native TCP", "tls", "allowed_ips", "ech")
    pairs = zip(names, _tuple(_connection(left)), _tuple(_connection(right)), strict=True)
    for name, one, other in pairs:
        if one != other:
            return name
    if _request(left) is None or _request(right) is None or not _same_route(left, right):
        return ""
    names = ("protocol", "enforcement", "how requests are read", "credentials")
    pairs = zip(names, _tuple(_request(left)), _tuple(_request(right)), strict=True)
    return next((name for name, one, other in pairs if one != other), "")


def _tuple(value: Hashable) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _same_route(left: Endpoint, right: Endpoint) -> bool:
    """Some path belongs to both and neither is the narrower one, which would win."""
    one, other = left.path, right.path
    if (one.specificity if one else 0) != (other.specificity if other else 0):
        return False
    return one is None or other is None or one.overlaps(other)


def _meet(left: _Member, right: _Member) -> bool:
    """Some connection of some program matches both."""
    one, other = left.endpoint.host, right.endpoint.host
    if one is not None and other is not None and not one.overlaps(other):
        return False
    if left.entry is right.entry:
        return True
    return any(a.path.overlaps(b.path) for a in left.entry.binaries for b in right.entry.binaries)
