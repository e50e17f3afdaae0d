"""A record between egress and the monitor: a fixed head, then JSON that the monitor never parses.

    lane       u8
    reserved   3 zero bytes
    sequence   u64, big-endian
    record     the rest: one line of printable ASCII

The monitor holds privileges and egress may be taken over, so the monitor reads the head only, and
checks of the record just that it is one line which can do nothing to a terminal.
"""

import struct
from typing import NamedTuple

from supervisor.events.vocabulary import Lane

_HEAD = struct.Struct("!B3xQ")
# The longest record that record_of can make is shorter (a unit test tries); SO_SNDBUF holds many.
MAX_RECORD = 48 * 1024
MAX_FRAME = _HEAD.size + MAX_RECORD
_PRINTABLE = bytes(range(0x20, 0x7F))


class Frame(NamedTuple):
    """One record on its way; ``record`` is JSON."""

    lane: Lane
    sequence: int
    record: bytes


class FrameError(ValueError):
    """A packet that no stream of ours sends."""


def encode(frame: Frame) -> bytes:
    """The packet. Raises FrameError for a record that is too long."""
    if len(frame.record) > MAX_RECORD:
        raise FrameError(f"a record of {len(frame.record)} bytes, at most {MAX_RECORD}")
    return _HEAD.pack(frame.lane, frame.sequence) + frame.record


def decode(packet: bytes) -> Frame:
    """The frame in a packet. Raises FrameError."""
    if not _HEAD.size < len(packet) <= MAX_FRAME:
        raise FrameError(f"a packet of {len(packet)} bytes")
    number, sequence = _HEAD.unpack_from(packet)
    record = packet[_HEAD.size :]
    if record.translate(None, _PRINTABLE) or not (record[:1] == b"{" and record[-1:] == b"}"):
        raise FrameError("a record that is not one line of printable ASCII")
    try:
        return Frame(Lane(number), sequence, record)
    except ValueError as error:
        raise FrameError(f"no lane has the number {number}") from error
