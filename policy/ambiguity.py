"""Endpoints that apply to the same traffic of the same program must agree on how it is handled.

Rules add up, so they may differ; how a connection is carried and how its requests are read cannot
be two things at once. Entries whose programs cannot be the same are left alone, which the reference
does not do. (A process that matches two such entries through an ancestor is decided strictly.)
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from policy import document_codes as codes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.address import Network
    from policy.findings import Report
    from policy.network import Credentials, Endpoint, Inspection, NetworkPolicy

# Only endpoints with different settings on one port are compared. A policy of 1 MiB that needs more
# comparisons than this was made to need them; they take about a second.
MAX_COMPARISONS = 500_000


class _Connection(NamedTuple):
    """What must be the same for all endpoints that one connection matches."""

    native_tcp: bool
    tls: str
    allowed_ips: frozenset[Network]
    ech: str


class _Request(NamedTuple):
    """What must be the same for all endpoints that judge one request."""

    protocol: str | None
    enforcement: str
    inspection: Inspection
    credentials: Credentials


class _Member(NamedTuple):
    """An endpoint within its entry, with the settings that are being compared."""

    entry: NetworkPolicy
    endpoint: Endpoint
    settings: _Connection | _Request


def check_ambiguity(policies: tuple[NetworkPolicy, ...], report: Report) -> None:
    """Report each endpoint that contradicts an earlier one."""
    connections = [_Member(it, e, _connection(e)) for it in policies for e in it.endpoints]
    requests = [
        _Member(it, e, _request(e))
        for it in policies
        for e in it.endpoints
        if e.protocol not in (None, "tcp")
    ]
    reported: set[int] = set()
    for place, (one, other) in enumerate(chain(_candidates(connections), _candidates(requests))):
        if place == MAX_COMPARISONS:
            message = f"more than {MAX_COMPARISONS} pairs of endpoints with different settings"
            report.add(codes.TOO_LARGE, one.endpoint.origin, "network_policies", message)
            return
        earlier, later = sorted((one, other), key=_position)
        if id(later.endpoint) not in reported and _meet(earlier, later):
            reported.add(id(later.endpoint))
            _report(earlier, later, report)


def _position(member: _Member) -> tuple[int, int]:
    return member.endpoint.origin.line, member.endpoint.origin.column


def _report(earlier: _Member, later: _Member, report: Report) -> None:
    pairs = zip(later.settings._fields, earlier.settings, later.settings, strict=True)
    differing = ", ".join(name for name, one, other in pairs if one != other)
    message = f"differs in {differing} from the endpoint at {earlier.endpoint.origin}"
    path = f"network_policies.{later.entry.key}"
    report.add(codes.AMBIGUOUS, later.endpoint.origin, path, message)


def _candidates(members: list[_Member]) -> Iterator[tuple[_Member, _Member]]:
    """Pairs on one port whose settings differ and whose exact hosts, if they have any, are equal."""
    by_port: dict[int, dict[tuple[object, ...], list[_Member]]] = {}
    for member in members:
        for port in member.endpoint.ports:
            groups = by_port.setdefault(port, {})
            groups.setdefault(member.settings, []).append(member)
    for groups in by_port.values():
        earlier = _ByHost()
        for group in groups.values() if len(groups) > 1 else ():
            for member in group:
                for other in earlier.that_may_meet(member):
                    yield other, member
            for member in group:
                earlier.add(member)


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


def _connection(endpoint: Endpoint) -> _Connection:
    return _Connection(
        native_tcp=endpoint.protocol == "tcp",
        tls=endpoint.tls,
        allowed_ips=frozenset(endpoint.allowed_ips),
        ech=endpoint.ech,
    )


def _request(endpoint: Endpoint) -> _Request:
    return _Request(
        protocol=endpoint.protocol,
        enforcement=endpoint.enforcement,
        inspection=endpoint.inspection,
        credentials=endpoint.credentials,
    )


def _same_route(left: Endpoint, right: Endpoint) -> bool:
    """Some path belongs to both and neither is the narrower one, which would win."""
    one, other = left.path, right.path
    if (one.specificity if one else 0) != (other.specificity if other else 0):
        return False
    return one is None or other is None or one.overlaps(other)


def _meet(left: _Member, right: _Member) -> bool:
    """Some connection of some program, or some request on it, matches both."""
    if isinstance(left.settings, _Request) and not _same_route(left.endpoint, right.endpoint):
        return False
    one, other = left.endpoint.host, right.endpoint.host
    if one is not None and other is not None and not one.overlaps(other):
        return False
    return any(a.path.overlaps(b.path) for a in left.entry.binaries for b in right.entry.binaries)
