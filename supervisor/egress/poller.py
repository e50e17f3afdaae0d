"""One edge-triggered epoll set for every hot descriptor of egress.

asyncio's transports and its selector bookkeeping cost more for each connection than everything
else we do with it, so connections live here: registered once, told about edges, unregistered by
closing. The set is itself a descriptor, and asyncio (which keeps what is rare: resolving, control)
watches just that one; a benchmark or a test may drive ``turn`` by hand instead. epoll(7).
"""

import select
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

# One registration for the life of a descriptor: both directions, half-close, edges.
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
LEVEL_IN = select.EPOLLIN
# The peer's end, or a failure, comes with or after this; without it a short read was the last byte.
ENDING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# Enough that a burst costs few calls, few enough that asyncio's own work is not kept waiting.
MAX_BATCH = 256
# An iteration of asyncio costs as much as half a connection, so a busy set is served for so long
# before asyncio gets its turn (what it keeps can wait that long) ...
SLICE_S = 0.005
# ... and a set that was busy is given so long to become busy again.
LULL_S = 0.001

Handler = Callable[[int], None]


class Poller:
    """Descriptors with a handler each; ``now`` is CLOCK_MONOTONIC at the start of the turn.

    A handler gets the epoll event mask. It may see an edge that belonged to an earlier owner of its
    descriptor number in the same batch, so an edge is a hint to try, never a promise.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._later: deque[Callable[[], None]] = deque()
        self._is_turning = False
        self._wake: Callable[[], None] | None = None
        self.now = time.monotonic()

    def add(self, fd: int, handler: Handler, events: int = EDGES) -> None:
        """Watch ``fd``; an edge for what is already pending comes with the next turn."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def replace(self, fd: int, handler: Handler) -> None:
        """Hand a watched descriptor to another owner, who must try both directions at once."""
        if fd not in self._handlers:
            raise KeyError(fd)
        self._handlers[fd] = handler

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``; to be called before it is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """``remove`` without its system call, for who closes ``fd`` next: epoll(7), question 6."""
        del self._handlers[fd]

    def later(self, action: Callable[[], None]) -> None:
        """Run ``action`` at the end of this turn, or in the next one if that is where it ends up.

        How a busy flow lets the others go first.
        """
        self._later.append(action)
        if self._wake is not None and not self._is_turning:
            self._wake()  # asked for by asyncio's side: no edge will come to start a turn

    def turn(self, timeout: float = 0.0) -> bool:
        """Deliver one batch of edges and what was put off; waits at most ``timeout`` seconds.

        Says whether there was anything to do.
        """
        batch = self._epoll.poll(0.0 if self._later else timeout, MAX_BATCH)
        self.now = time.monotonic()
        self._is_turning = True
        for fd, events in batch:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        put_off = len(self._later)
        for _ in range(put_off):
            self._later.popleft()()
        self._is_turning = False
        return bool(batch) or put_off > 0

    def attach(self, loop: "asyncio.AbstractEventLoop") -> None:
        """Let ``loop`` drive the turns until ``detach``."""

        def once() -> None:
            end = time.monotonic() + SLICE_S
            while self.turn(LULL_S) and self.now < end:
                pass
            if self._later:
                wake()

        def wake() -> None:
            loop.call_soon(once)

        self._wake = wake
        loop.add_reader(self._epoll.fileno(), once)

    def detach(self, loop: "asyncio.AbstractEventLoop") -> None:
        """The loop no longer drives the turns."""
        self._wake = None
        loop.remove_reader(self._epoll.fileno())

    def close(self) -> None:
        """Give the epoll descriptor back; the watched ones are their owners' to close."""
        self._epoll.close()
