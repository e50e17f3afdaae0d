"""Between names and addresses: what DNS answers, and which name a dialled address stands for."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from policy.address import SYNTHETIC_V4, SYNTHETIC_V6
from policy.host import Address
from policy.index import Index
from supervisor.egress.authority import Authority
from supervisor.egress.dns import Addresses, Refused
from supervisor.egress.hosts import Hosts
from supervisor.egress.synthetic import Kind, SyntheticTable

# A page may pull in many hosts of one domain; data in labels needs thousands.
NEW_NAMES_PER_MINUTE = 60
NEW_NAMES_PER_HOUR = 600
# The longest host names of content networks have 80 characters; what is beyond carries data.
MAX_STARRED_NAME = 120
REMEMBERED_NAMES = 4096


class Target(NamedTuple):
    """Where a connection goes: the names it may be judged by, best first, and known addresses.

    ``addresses`` is None where they have to be resolved. ``host`` is the one to show.
    """

    hosts: tuple[str, ...]
    port: int
    addresses: tuple[Address, ...] | None = None

    @property
    def host(self) -> str:
        """The first of the names."""
        return self.hosts[0]


class Names:
    """The hosts file, the synthetic table and the current policy's names together."""

    def __init__(
        self,
        *,
        hosts: Hosts,
        table: SyntheticTable,
        index: Callable[[], Index],
        has_ipv6: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._table = table
        self._index = index
        self._has_ipv6 = has_ipv6
        self._clock = clock

    def answer(self, name: str) -> Addresses | Refused:
        """What DNS says about a canonical name, whichever type is asked for."""
        known = self._hosts.addresses.get(name)
        if known is not None:
            return Addresses(
                v4=tuple(address for address in known if isinstance(address, IPv4Address)),
                v6=tuple(address for address in known if isinstance(address, IPv6Address)),
            )
        index = self._index()
        if not index.look_up(name)[1]:
            return Refused(why="no rule of the policy names this host")
        kind = Kind.EXACT if name in index.exact else Kind.POOLED
        pair = self._table.assign(name, kind, self._clock())
        if pair is None:
            return Refused(why="all addresses for names under wildcards are in use")
        return Addresses(v4=(pair.v4,), v6=(pair.v6,) if self._has_ipv6 else ())

    def of_address(self, address: Address, port: int) -> Target | None:
        """What a dialled address stands for; None for a synthetic one that stands for nothing."""
        if address in (SYNTHETIC_V4 if isinstance(address, IPv4Address) else SYNTHETIC_V6):
            name = self._table.name_of(address)
            return None if name is None else Target(hosts=(name,), port=port)
        names = self._hosts.names.get(address, ())
        return Target(hosts=(*names, str(address)), port=port, addresses=(address,))

    def of_authority(self, authority: Authority) -> Target | None:
        """What a CONNECT or an absolute-form request asks for."""
        if authority.literal is not None:
            return self.of_address(authority.literal, authority.port)
        known = self._hosts.addresses.get(authority.host)
        return Target(hosts=(authority.host,), port=authority.port, addresses=known)

    def hold(self, name: str) -> None:
        """A tunnel to ``name`` began."""
        self._table.hold(name)

    def release(self, name: str) -> None:
        """A tunnel to ``name`` ended."""
        self._table.release(name, self._clock())


class ReportingNames:
    """An Answerer that also tells which names it refused, and counts the others."""

    def __init__(self, names: Names, refused: Callable[[str, str, str], None]) -> None:
        self._names = names
        self._refused = refused
        self.given = 0

    def answer(self, name: str, kind: str) -> Addresses | Refused:
        """See Answerer."""
        answer = self._names.answer(name)
        if isinstance(answer, Refused):
            self._refused(name, kind, answer.why)
        else:
            self.given += 1
        return answer


class LookupBudget:
    """How many new names under wildcards may leave the container (attack F2).

    A name that a rule states exactly carries no data of the workload's choosing and is free.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, None] = {}
        self._recent: list[float] = []

    def allows(self, name: str) -> bool:
        """Whether ``name`` may be asked for upstream; counts it if so."""
        if name in self._known:
            return True
        now = self._clock()
        self._recent = [when for when in self._recent if now - when < 3600]
        lately = sum(now - when < 60 for when in self._recent)
        if (
            len(name) > MAX_STARRED_NAME
            or lately >= NEW_NAMES_PER_MINUTE
            or len(self._recent) >= NEW_NAMES_PER_HOUR
        ):
            return False
        self._recent.append(now)
        if len(self._known) >= REMEMBERED_NAMES:
            del self._known[next(iter(self._known))]
        self._known[name] = None
        return True
