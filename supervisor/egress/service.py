"""What every connection of egress shares, and what is reported about each."""

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from policy.decision import Decision
from policy.index import Index
from supervisor.egress.admit import Opened, Refused
from supervisor.egress.caller import Callers, Done
from supervisor.egress.http1_commands import OpenTunnel, Record
from supervisor.egress.link import Link
from supervisor.egress.naming import Names, Target
from supervisor.egress.origin import Origin
from supervisor.egress.poller import Poller
from supervisor.egress.reach import Reacher
from supervisor.egress.relay import End, Relay
from supervisor.egress.sockets import Socket
from supervisor.kernel.sock_diag import End as SocketEnd


class TunnelEnded(NamedTuple):
    """A relayed connection is over; seconds since it was opened."""

    origin: Origin
    target: Target
    callers: Callers
    how: End
    bytes_up: int
    bytes_down: int
    seconds: float


class RequestEnded(NamedTuple):
    """One plain-HTTP request is over; ``decision`` is policy's, None where it was not asked."""

    client: SocketEnd
    callers: Callers | None
    record: Record
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """A connection was refused before anything was read; ``limit`` names which bound was reached."""

    limit: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRefused:
    """A name was asked for that no rule of the policy can need; ``kind`` as in ``AAAA``."""

    name: str
    kind: str
    why: str


Report = Opened | Refused | TunnelEnded | RequestEnded | Shed | NameRefused


class Finder(Protocol):
    """Who finds the programs behind a connection (supervisor.egress.caller.CallerFinder)."""

    def find(
        self, local: SocketEnd, remote: SocketEnd, connection: Socket | None, done: Done
    ) -> None:
        """Call ``done`` once."""

    def sweep(self) -> None:
        """Give up what took too long."""


class Session(Protocol):
    """A connection that is not, or not yet, in the relay."""

    def is_over(self, now: float) -> bool:
        """Apply the time limits; whether the session can be forgotten."""

    def policy_changed(self) -> None:
        """There is a new policy."""

    def close(self) -> None:
        """Egress stops."""


class RequestIds:
    """Identifiers that are in the reply to the client and in the event: unique, in order, short."""

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """The next one."""
        return f"{self._start}-{next(self._numbers)}"


@dataclass(slots=True, kw_only=True)
class Service:
    """The parts that sessions use.

    ``index`` is the live policy, replaced as a whole. ``open_tunnel`` takes over a connection on
    which CONNECT was read, with the client's two ends of it.
    """

    poller: Poller
    relay: Relay
    names: Names
    finder: Finder
    reacher: Reacher
    index: Index
    report: Callable[[Report], None]
    open_tunnel: Callable[[OpenTunnel, Link, tuple[SocketEnd, SocketEnd]], None]
    new_id: RequestIds = field(default_factory=RequestIds)
    sessions: set[Session] = field(default_factory=set)
