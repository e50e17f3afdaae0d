"""What the monitor gives along with each connection to the metrics socket. Pure.

head   u8 alive, u8 ready, u16 length of the reason, little-endian
why    the reason, UTF-8
text   the monitor's own metrics, ASCII
"""

import struct
from typing import NamedTuple

from supervisor.events.probe import Health

_HEAD = struct.Struct("<??H")
MAX_WHY = 512  # names of helpers and their states
# The monitor's series are its helpers and the codes of its findings: some kilobytes.
MAX_STATE = 64 * 1024


class State(NamedTuple):
    """As it was when the connection was accepted."""

    health: Health
    text: str


def encode(state: State) -> bytes:
    """The packet. Raises ValueError for metrics that are too long."""
    health = state.health
    why = health.why_not.encode("utf-8", "backslashreplace")[:MAX_WHY]
    packet = _HEAD.pack(health.alive, health.ready, len(why)) + why + state.text.encode("ascii")
    if len(packet) > MAX_STATE:
        raise ValueError(f"a state of {len(packet)} bytes")
    return packet


def decode(packet: bytes) -> State:
    """The state, from the monitor, which is trusted."""
    alive, ready, length = _HEAD.unpack_from(packet)
    why = packet[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")
    text = packet[_HEAD.size + length :].decode("ascii")
    return State(Health(alive, ready, why), text)
