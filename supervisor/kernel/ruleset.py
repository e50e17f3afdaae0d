"""What an nftables table says, as frozen data. Pure: nothing here touches the kernel.

The vocabulary is what the fence needs, not all that nftables can do. Everything is in the
``inet`` family, so that one rule judges IPv4 and IPv6. ``nftables`` turns it into messages.

These are named tuples, not dataclasses: two dozen dataclasses cost 10 ms of every start.
"""

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

Network = IPv4Network | IPv6Network


class Protocol(Enum):
    """Transport protocol numbers (IANA) that rules name; the rest falls to the chain's default."""

    ICMP = 1
    TCP = 6
    UDP = 17
    ICMPV6 = 58


class Direction(Enum):
    """Which side of its connection a packet belongs to (IP_CT_DIR_*)."""

    ORIGINAL = 0
    REPLY = 1


class State(Enum):
    """Connection states as bits of ``ct state`` (NF_CT_STATE_BIT in the kernel)."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4


class Leaving(NamedTuple):
    """The packet goes out through this interface.

    In an output chain this is, after a redirect, still the interface it would have gone out through
    before; in a postrouting chain it is the one that it really leaves by.
    """

    interface: str


class Arriving(NamedTuple):
    """The packet came in through this interface."""

    interface: str


class Owner(NamedTuple):
    """The user who *created* the packet's socket, whoever uses it now.

    A packet without a socket (its socket was closed) has no owner and never matches, not even
    with ``other=True``, which asks for any owner but this one.
    """

    uid: int
    other: bool = False


class Carries(NamedTuple):
    """The transport protocol."""

    protocol: Protocol


class ToPort(NamedTuple):
    """Transport protocol and destination port; ``other=True`` asks for any port but this one."""

    protocol: Protocol
    port: int
    other: bool = False


class FromPort(NamedTuple):
    """Transport protocol and source port."""

    protocol: Protocol
    port: int


class ToPortIn(NamedTuple):
    """Transport protocol, and a destination port that is an element of a port set."""

    protocol: Protocol
    ports: str


class To(NamedTuple):
    """The destination address is in this network (after a redirect: where it goes now)."""

    network: Network


class ToThisMachine(NamedTuple):
    """The destination is an address of this namespace, loopback included (``fib daddr type``)."""


class InState(NamedTuple):
    """The connection is in one of these states."""

    states: tuple[State, ...]


class Redirected(NamedTuple):
    """The connection's destination was rewritten (``yes``), or was not."""

    yes: bool = True


class Going(NamedTuple):
    """The packet's direction within its connection."""

    direction: Direction


class Marked(NamedTuple):
    """The connection carries this mark."""

    mark: int


class Opening(NamedTuple):
    """A TCP packet that opens a connection (of SYN and ACK, SYN alone), or (not ``yes``) any other."""

    yes: bool = True


class Icmpv6(NamedTuple):
    """An ICMPv6 type; with ``one_hop`` only if its hop limit is 255, that is, from this link."""

    type: int
    one_hop: bool


class AtMost(NamedTuple):
    """True for so many packets a second, after a burst."""

    per_second: int
    burst: int


PacketMatch = Leaving | Arriving | Owner | Carries | ToPort | FromPort | ToPortIn | To
ConnectionMatch = InState | Redirected | Going | Marked
SpecialMatch = ToThisMachine | Opening | Icmpv6 | AtMost
Match = PacketMatch | ConnectionMatch | SpecialMatch


class Count(NamedTuple):
    """Count packets and bytes; read back by the rule's comment."""


class Mark(NamedTuple):
    """Mark the connection."""

    mark: int


class Zone(NamedTuple):
    """Track what this socket begins apart from what others begin between the same ends.

    Only in the direction in which the connection was begun: answers come in without a zone and are
    found all the same. Must happen before connections are tracked, so in a chain that hooks before
    -200.
    """

    number: int


class Log(NamedTuple):
    """Hand the packet's head to whoever bound this NFLOG group; never to the kernel log."""

    group: int
    prefix: str


class TellSourcePort(NamedTuple):
    """Write the port that the connection came from into the urgent pointer of its TCP header.

    For packets that open a connection: there the field says nothing, and a listener can keep it
    (supervisor.kernel.tcp_saved_syn). Connection tracking may have changed the port on the way, and
    tells nobody without CAP_NET_ADMIN.
    """


Statement = Count | Mark | Zone | Log | TellSourcePort


class Verdict(Enum):
    """How a chain ends for a packet. RETURN goes back to the chain's default."""

    DROP = 0
    ACCEPT = 1
    RETURN = -5


class Reject(Enum):
    """Refuse and tell the sender at once, so that programs fail instead of waiting.

    A reset answers TCP only: its rule carries ``Carries(Protocol.TCP)``.
    """

    RESET = "tcp reset"
    PROHIBITED = "icmp administratively prohibited"


class Redirect(NamedTuple):
    """Send it to this port on loopback instead (nat chains only)."""

    port: int


Ending = Verdict | Reject | Redirect


class Rule(NamedTuple):
    """All matches must hold; then the statements are carried out, then the ending, if any."""

    comment: str
    matches: tuple[Match, ...] = ()
    statements: tuple[Statement, ...] = ()
    ending: Ending | None = None


class Hook(Enum):
    """Where in the packet's way a chain sits (NF_INET_*)."""

    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


class Chain(NamedTuple):
    """A base chain. ``kind`` is ``filter`` or ``nat``; lower priorities see packets first."""

    name: str
    kind: str
    hook: Hook
    priority: int
    default: Verdict
    rules: tuple[Rule, ...] = ()


class PortSet(NamedTuple):
    """A named set of ports (``inet_service``), changeable one element at a time."""

    name: str
    ports: frozenset[int] = frozenset()


class Table(NamedTuple):
    """One table of the ``inet`` family: all that the fence owns."""

    name: str
    chains: tuple[Chain, ...]
    sets: tuple[PortSet, ...] = ()


# Nested tuples of names, numbers, strings and bytes.
Plain = Any


class HeldRule(NamedTuple):
    """One rule as the kernel holds it: its comment, and its expressions as the kernel encodes
    them. Equal bytes mean the same; ``nft_rules.meaning`` compares what is not equal."""

    chain: str
    comment: str
    expressions: tuple[bytes, ...]


class HeldChain(NamedTuple):
    """One chain as the kernel holds it; hook, priority and default are None for a chain that only
    other chains jump to."""

    table: str
    name: str
    kind: str | None
    hook: int | None
    priority: int | None
    default: int | None


class Held(NamedTuple):
    """A whole table as the kernel holds it."""

    flags: int
    chains: tuple[HeldChain, ...]
    rules: tuple[HeldRule, ...]
    sets: tuple[tuple[str, tuple[int, ...]], ...]
