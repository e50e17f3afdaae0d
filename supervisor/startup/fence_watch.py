"""Is the pod's fence still there? For a half that never had a capability and cannot read the rules.

Once a minute it sends what the fence must refuse. In the output hook a refusal is an error of the
call itself, so that nothing leaves and nobody else can have answered.
"""

import socket
import time

from supervisor.monitor.loop import Loop
from supervisor.sidecar.codes import FENCE_OPEN

INTERVAL_S = 60.0  # decision 16
DISCARD = 9  # the port of RFC 863: who gets it throws it away
# Documentation addresses: RFC 5737, RFC 3849.
TARGETS = ((socket.AF_INET, "203.0.113.9"), (socket.AF_INET6, "2001:db8::9"))


class FenceWatch:
    """A Keeper of the monitor's loop; ends the workload when a packet is let through."""

    def __init__(self, loop: Loop, *, ipv6: bool) -> None:
        self._loop = loop
        self._targets = TARGETS if ipv6 else TARGETS[:1]
        self._next = time.monotonic() + INTERVAL_S

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._next

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._next = now + INTERVAL_S
        if any(is_let_through(family, address) for family, address in self._targets):
            self._loop.fail(FENCE_OPEN)

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()


def is_let_through(family: int, address: str) -> bool:
    """Could a datagram be sent there?"""
    with socket.socket(family, socket.SOCK_DGRAM) as tried:
        tried.setblocking(False)
        try:
            tried.sendto(b"fence", (address, DISCARD))
        except OSError:
            return False  # refused by the fence, or there is no way there at all
    return True
