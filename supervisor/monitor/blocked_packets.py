"""From what NFLOG delivers to events, in bounded slices: a flood must not keep the monitor busy."""

import errno
import socket
from collections.abc import Callable

from supervisor.events.blocked import attempt
from supervisor.events.vocabulary import AttemptBlocked, Event
from supervisor.fence.names import BLOCKED_WIRE
from supervisor.kernel import nflog

# Datagrams read in one turn of the loop; what is beyond waits, or the kernel drops and counts it.
DATAGRAMS_PER_TURN = 32


class BlockedPackets:
    """Reads a bound NFLOG socket; ``emit`` gets an event for each packet (it limits and sums)."""

    def __init__(self, channel: socket.socket, emit: Callable[[Event], None]) -> None:
        self._channel = channel
        self._emit = emit
        self.overruns = 0  # times the kernel had to drop logs because we were slow

    def on_readable(self) -> None:
        """Read what waits, within the turn's bound. Raises OSError."""
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                packets = nflog.receive(self._channel)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                continue
            if not packets:
                return
            for packet in packets:
                self._emit(event_of(packet))


def event_of(packet: nflog.Blocked) -> AttemptBlocked:
    """The event for one packet."""
    return attempt(
        uid=packet.uid,
        gid=packet.gid,
        protocol=packet.protocol,
        destination=str(packet.destination),
        port=packet.port,
        tied=packet.prefix == BLOCKED_WIRE,
    )
