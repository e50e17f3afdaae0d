"""What the monitor tells egress to do, and what egress says of itself: small bounded packets.

Over a SOCK_SEQPACKET socketpair. A packet is one letter, a generation (u32, little-endian) and a
text; a policy comes as the descriptor of a sealed memfd beside its packet (SCM_RIGHTS).

    monitor → egress   P generation          use the policy in the descriptor
    egress → monitor   R 0                   serving
                       A generation          the policy is in use
                       J generation reason   the policy is not: the one before stays
                       H tunnels             alive (once a second), and how many tunnels live
"""

import struct
from typing import NamedTuple

POLICY, READY, ACCEPTED, REJECTED, ALIVE = (letter.encode() for letter in "PRAJH")
KINDS = (POLICY, READY, ACCEPTED, REJECTED, ALIVE)
MAX_TEXT = 1024  # a reason for a log line
_HEAD = struct.Struct("<cI")
MAX_PACKET = _HEAD.size + MAX_TEXT


class OrderError(ValueError):
    """The packet is none of these."""


class Order(NamedTuple):
    """One packet; ``number`` is what the table above has beside the letter."""

    kind: bytes
    number: int = 0
    text: str = ""


def encode(order: Order) -> bytes:
    """The packet; a text that is too long is cut."""
    text = order.text.encode("utf-8", "backslashreplace")[:MAX_TEXT]
    return _HEAD.pack(order.kind, order.number) + text


def decode(packet: bytes) -> Order:
    """The message; raises OrderError."""
    if not _HEAD.size <= len(packet) <= MAX_PACKET:
        raise OrderError(f"{len(packet)} bytes")
    kind, number = _HEAD.unpack_from(packet)
    if kind not in KINDS:
        raise OrderError(f"unknown kind {kind!r}")
    return Order(kind, number, packet[_HEAD.size :].decode("utf-8", "replace"))
