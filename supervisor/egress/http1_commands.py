"""What a Conversation asks of its owner, what it is told, and the phases in between."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from supervisor.egress.authority import Authority
from supervisor.errors import Code


class Phase(Enum):
    """Where a conversation stands; the text of supervisor.egress.http1 explains each."""

    HEAD = "head"
    DECIDING = "deciding"
    CONNECTING = "connecting"
    EXCHANGE = "exchange"
    SWITCHED = "switched"
    CLOSED = "closed"


class Decide(NamedTuple):
    """May this request go? Answer with ``decided``."""

    request_id: str
    authority: Authority
    method: str
    path: str
    upgrade: bool


class OpenTunnel(NamedTuple):
    """CONNECT was read: the connection is admission's now, ``early`` the bytes after the head."""

    request_id: str
    authority: Authority
    early: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Connect to the destination just decided; ``connected`` or ``connect_failed`` answers."""

    authority: Authority


@dataclass(frozen=True, slots=True)
class ToUpstream:
    """Send bytes to the current upstream connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class DropUpstream:
    """Close the upstream connection; it is not used again."""


@dataclass(frozen=True, slots=True)
class CloseClient:
    """Close the client's connection once everything for it is sent; ignore what it still sends."""


@dataclass(frozen=True, slots=True)
class AbortClient:
    """Reset the client's connection: what it got is not the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Both sides agreed on another protocol: relay bytes, these first."""

    to_upstream: bytes
    to_client: bytes


class Record(NamedTuple):
    """One request is over, for the event stream; ``code`` None where it was answered."""

    request_id: str
    authority: Authority | None
    method: str
    path: str
    status: int
    code: Code | None
    bytes_up: int
    bytes_down: int


Command = (
    Decide | OpenTunnel | Connect | ToUpstream | ToClient | DropUpstream | CloseClient
    | AbortClient | Switch | Record
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request may go; ``path`` is what upstream is asked for (policy's canonical form)."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The request may not go."""

    code: Code
    cause: str
    status: int = 403
    rule: str | None = None
