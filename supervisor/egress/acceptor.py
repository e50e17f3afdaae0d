"""Accept connections on a bound socket, within bounds, and survive running out of descriptors."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable

from supervisor.egress.dial import OUT_OF_DESCRIPTORS
from supervisor.egress.link import RESET_ON_CLOSE
from supervisor.egress.poller import LEVEL_IN, Poller
from supervisor.egress.service import Shed
from supervisor.egress.sockets import Socket, accept
from supervisor.kernel.tcp_saved_syn import save_syn

# A burst is taken in one go, but not so long that tunnels wait for more than 2 ms.
ACCEPTS_A_TURN = 32

# Gets a connection and the address of its other end.
Take = Callable[[Socket, tuple[str, int]], None]


class Acceptor:
    """One listener. ``count`` says how many connections of its kind live; ``limit`` is the most.

    Without a free descriptor accept(2) fails and the connection stays in the queue, which wakes us
    at once again: so one descriptor is kept in reserve, given up to take the connection, reset it
    and take the reserve back. What is shed is reported, and the rest of the service lives on.
    """

    def __init__(
        self,
        poller: Poller,
        listener: socket.socket,
        *,
        take: Take,
        count: Callable[[], int],
        limit: int,
        report: Callable[[Shed], None],
    ) -> None:
        self._listener = listener
        self._take = take
        self._count = count
        self._limit = limit
        self._report = report
        self._reserve = _open_reserve()
        listener.setblocking(False)
        # Accepted sockets inherit both: small writes of ours pass at once, and a peer that vanished
        # is noticed in hours.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        save_syn(listener)
        poller.add(listener.fileno(), self._ready, LEVEL_IN)

    def _ready(self, _events: int) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = accept(self._listener)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:
                    self._shed_with_reserve(error)
                    return
                if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                    self._report(Shed(limit="kernel memory", value=0))
                    return
                continue  # the connection failed before it was taken (accept(2), Error handling)
            if self._count() >= self._limit:
                _reset(sock)
                self._report(Shed(limit="connections", value=self._limit))
                continue
            try:
                self._take(sock, address)
            except OSError:  # it was reset, or was not redirected; ``take`` looks before it keeps
                sock.close()

    def _shed_with_reserve(self, cause: OSError) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            with contextlib.suppress(OSError):
                sock, _ = accept(self._listener)
                _reset(sock)
        # A thread that hashes may have been quicker; then the next round gets it back.
        self._reserve = _open_reserve()
        self._report(Shed(limit=os.strerror(cause.errno or 0), value=0))

    def close(self) -> None:
        """Give the reserve back."""
        if self._reserve is not None:
            os.close(self._reserve)


def _open_reserve() -> int | None:
    """A second number for something open already: a confined process may not open files."""
    try:
        return os.dup(0)
    except OSError:
        return None


def _reset(sock: Socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()
