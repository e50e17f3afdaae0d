"""One side of a connection while it is not in the relay: read on demand, write with a backlog.

The owner decides when bytes are read (``wants``), so memory is bounded by what it lets in: at most
one read beyond what it wants, and the backlog of what it sent. Registered once, edge-triggered.
"""

import socket
import struct
from typing import NamedTuple, Protocol

from supervisor.egress.poller import ENDING, READABLE, WRITABLE, Poller
from supervisor.egress.sockets import Socket

READ_SIZE = 64 * 1024
# Reads of one link in a row before the others get their turn.
READS_A_TURN = 8
# After our last word the client may still be sending: closing at once would reset the connection
# and destroy what it has not read yet. This much is read and thrown away.
LINGER_BYTES = 1 << 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class LinkOwner(Protocol):
    """Who is told what happens on a link."""

    def wants(self, link: "Link") -> bool:
        """Whether bytes may be read now."""

    def received(self, link: "Link", data: bytes) -> None:
        """Bytes arrived."""

    def ended(self, link: "Link") -> None:
        """The peer sends no more."""

    def broke(self, link: "Link") -> None:
        """The connection was reset or failed; the link is closed."""

    def drained(self, link: "Link") -> None:
        """Everything that was sent is with the kernel."""

    def stirred(self, link: "Link") -> None:
        """There is something to read, whether wanted or not."""


class Detached(NamedTuple):
    """What was a link's; without ``may_read`` all that had come was read, the end did not come."""

    sock: Socket
    unsent: bytes
    may_read: bool


class Link:
    """A connected non-blocking socket with an owner; see the module's text.

    ``is_watched``: the poller knows the socket already, from whoever made the connection; then
    ``may_read`` says whether there may be something to read that no edge will tell.
    """

    __slots__ = (
        "_backlog", "_ended", "_ending", "_finishing", "_lingered", "_poller", "_readable", "owner", "sock",
    )  # fmt: skip

    def __init__(
        self,
        poller: Poller,
        sock: Socket,
        owner: LinkOwner,
        *,
        is_watched: bool = False,
        may_read: bool = False,
    ) -> None:
        self.sock: Socket | None = sock
        self._poller = poller
        self.owner = owner
        self._backlog = bytearray()
        # The first edge, which comes with the next turn, tells what is there already.
        self._readable = self._ending = may_read
        self._ended = False
        self._finishing = False
        self._lingered = 0
        (poller.replace if is_watched else poller.add)(sock.fileno(), self._ready)

    @property
    def backlog(self) -> int:
        """Bytes that were sent and that the kernel has not taken yet."""
        return len(self._backlog)

    @property
    def has_ended(self) -> bool:
        """Whether the peer's end was read already."""
        return self._ended

    @property
    def has_input(self) -> bool:
        """Whether bytes or the end wait to be read, asked of the kernel without reading."""
        if self.sock is None:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def send(self, data: bytes) -> None:
        """Send now what the kernel takes, the rest as soon as it does."""
        if self.sock is None or self._finishing:
            return
        if not self._backlog:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._backlog += data

    def pull(self) -> None:
        """Read as long as the owner wants and there is something."""
        if not self._readable:
            return
        for _ in range(READS_A_TURN):
            if not self._may_read():
                return
            if not self._read_once():
                return
        self._poller.later(self.pull)

    def finish(self) -> None:
        """Close once everything is sent; what the peer still sends is thrown away."""
        if self.sock is None or self._finishing:
            return
        self._finishing = True
        if not self._backlog:
            self._say_end()

    def abort(self) -> None:
        """Reset the connection."""
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close()

    def close(self) -> None:
        """Close the socket now."""
        if self.sock is not None:
            self._poller.forget(self.sock.fileno())
            self.sock.close()
            self.sock = None

    def detach(self) -> Detached:
        """Give the socket away, still watched, with what was not sent yet."""
        if self.sock is None:
            raise RuntimeError("the link is closed")
        given = Detached(self.sock, bytes(self._backlog), self._readable or self._ended)
        self.sock = None
        return given

    def _may_read(self) -> bool:
        if self.sock is None or not self._readable or self._ended:
            return False
        return self._finishing or self.owner.wants(self)

    def _ready(self, events: int) -> None:
        if events & WRITABLE and self._backlog:
            self._push()
        if events & READABLE and self.sock is not None:
            self._readable = True
            if events & ENDING:
                self._ending = True
            if not self._finishing:
                self.owner.stirred(self)
            self.pull()

    def _read_once(self) -> bool:
        """One read; False when there is nothing more to do."""
        if self.sock is None:
            return False
        try:
            data = self.sock.recv(READ_SIZE)
        except BlockingIOError:
            self._readable = self._ending = False
            return False
        except OSError:
            self._break()
            return False
        # epoll(7): a short read emptied it, unless the end came in the same edge.
        self._readable = len(data) == READ_SIZE or self._ending
        if self._finishing:
            self._lingered += len(data)
            if not data or self._lingered > LINGER_BYTES:
                self.close()
        elif data:
            self.owner.received(self, data)
        else:
            self._ended = True
            self.owner.ended(self)
        return bool(data)

    def _push(self) -> None:
        if self.sock is None:
            return
        try:
            del self._backlog[: self.sock.send(self._backlog)]
        except BlockingIOError:
            return
        except OSError:
            self._break()
            return
        if not self._backlog:
            if self._finishing:
                self._say_end()
            else:
                self.owner.drained(self)

    def _say_end(self) -> None:
        if self.sock is None:
            return
        if self._ended:
            self.close()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.pull()

    def _break(self) -> None:
        was_finishing = self._finishing
        self.close()
        if not was_finishing:
            self.owner.broke(self)
