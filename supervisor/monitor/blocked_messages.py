"""What the watcher of the fence tells the monitor: small bounded packets over a SOCK_SEQPACKET pair.

B   so many packets of one kind were refused: to whom, of whom, by which rule
O   so many more were refused, of kinds too many to tell apart
H   alive
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

BLOCKED, OTHERS, ALIVE = b"B", b"O", b"H"
# kind, protocol, uid, gid, port, times, destination (IPv4 as IPv4-mapped)
_HEAD = struct.Struct("<cBIIiQ16s")
NOBODY = 0xFFFFFFFF  # the id that no process has: (uid_t) -1
NO_PORT = -1
MAX_RULE = 64  # the names that our own rules carry are shorter
MAX_PACKET = _HEAD.size + MAX_RULE


class MessageError(ValueError):
    """The packet is none of these."""


class Kind(NamedTuple):
    """Refused packets that are told as one. ``uid`` and ``gid`` are None where there was no socket."""

    rule: str
    uid: int | None
    gid: int | None
    protocol: int
    destination: IPv4Address | IPv6Address
    port: int | None


class Blocked(NamedTuple):
    """Packets of one kind were refused ``times`` times; of several where ``kind`` is None."""

    kind: Kind | None
    times: int


def encode(blocked: Blocked) -> bytes:
    """The packet; a rule's name is cut to MAX_RULE and to printable ASCII."""
    kind, times = blocked
    if kind is None:
        return _HEAD.pack(OTHERS, 0, NOBODY, NOBODY, NO_PORT, times, bytes(16))
    rule = "".join(c if c.isascii() and c.isprintable() else "?" for c in kind.rule[:MAX_RULE])
    return _HEAD.pack(
        BLOCKED,
        kind.protocol,
        NOBODY if kind.uid is None else kind.uid,
        NOBODY if kind.gid is None else kind.gid,
        NO_PORT if kind.port is None else kind.port,
        times,
        _mapped(kind.destination),
    ) + rule.encode("ascii")


def encode_alive() -> bytes:
    """The packet that says nothing but that."""
    return _HEAD.pack(ALIVE, 0, NOBODY, NOBODY, NO_PORT, 0, bytes(16))


def decode(packet: bytes) -> Blocked | None:
    """The message; None for 'alive'. Raises MessageError: its sender has read hostile bytes."""
    if not _HEAD.size <= len(packet) <= MAX_PACKET:
        raise MessageError(f"{len(packet)} bytes")
    letter, protocol, uid, gid, port, times, raw = _HEAD.unpack_from(packet)
    if letter == ALIVE:
        return None
    if letter not in (BLOCKED, OTHERS) or not NO_PORT <= port <= 0xFFFF or not times:
        raise MessageError(f"no message: {packet[: _HEAD.size].hex()}")
    if letter == OTHERS:
        return Blocked(None, times)
    rule = packet[_HEAD.size :].decode("ascii", "replace")
    if not (rule.isascii() and rule.isprintable()):
        raise MessageError("a rule's name that is not printable")
    address = IPv6Address(raw)
    kind = Kind(
        rule=rule,
        uid=None if uid == NOBODY else uid,
        gid=None if gid == NOBODY else gid,
        protocol=protocol,
        destination=address.ipv4_mapped or address,
        port=None if port == NO_PORT else port,
    )
    return Blocked(kind, times)


def _mapped(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
