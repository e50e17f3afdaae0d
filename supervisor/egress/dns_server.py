"""The sockets of policy DNS: datagrams and streams around supervisor.egress.dns."""

import socket
from collections.abc import Callable

from supervisor.egress.acceptor import Take
from supervisor.egress.dns import MAX_QUERY, Answerer, FrameError, TcpFrames, framed, respond
from supervisor.egress.link import Link
from supervisor.egress.poller import LEVEL_IN, Poller
from supervisor.egress.sockets import Socket

# An answer takes 100 µs; so many in a row keep tunnels waiting for 3 ms.
DATAGRAMS_A_TURN = 32
# Resolvers use TCP after a truncated answer only.
MAX_STREAMS = 64
STREAM_IDLE_S = 10.0
QUERIES_A_STREAM = 128


class DnsDatagrams:
    """Answers queries on one bound UDP socket."""

    def __init__(self, poller: Poller, sock: socket.socket, answerer: Answerer) -> None:
        self._sock = sock
        self._answerer = answerer
        sock.setblocking(False)
        poller.add(sock.fileno(), self._ready, LEVEL_IN)

    def _ready(self, _events: int) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                wire, peer = self._sock.recvfrom(MAX_QUERY + 1)
                answer = respond(wire, self._answerer, over_tcp=False)
                if answer is not None:
                    self._sock.sendto(answer, peer)
            except BlockingIOError:  # nothing to read, or no room to send: the client asks again
                return
            except OSError:  # the client is gone (ECONNREFUSED of an earlier answer)
                continue


class DnsStream:
    """Answers queries on one TCP connection; a Session of the service."""

    def __init__(self, poller: Poller, sock: Socket, answerer: Answerer) -> None:
        self._poller = poller
        self._answerer = answerer
        self._frames = TcpFrames()
        self._left = QUERIES_A_STREAM
        self._active = poller.now
        self._link = Link(poller, sock, self)

    def start(self) -> None:
        """Read what is there."""
        self._link.pull()

    def wants(self, link: Link) -> bool:
        """See LinkOwner."""
        return link.backlog == 0 and self._left > 0

    def received(self, link: Link, data: bytes) -> None:
        """See LinkOwner."""
        self._active = self._poller.now
        try:
            queries = self._frames.feed(data)
        except FrameError:
            link.abort()
            return
        for query in queries:
            self._left -= 1
            answer = respond(query, self._answerer, over_tcp=True)
            if answer is None or self._left < 0:
                link.abort()
                return
            link.send(framed(answer))
        if self._left <= 0:
            link.finish()

    def ended(self, link: Link) -> None:
        """See LinkOwner."""
        link.finish()

    def broke(self, link: Link) -> None:
        """See LinkOwner."""

    def drained(self, link: Link) -> None:
        """See LinkOwner."""
        link.pull()

    def stirred(self, link: Link) -> None:
        """See LinkOwner."""

    def is_over(self, now: float) -> bool:
        """See Session."""
        if now - self._active >= STREAM_IDLE_S:
            self._link.abort()
        return self._link.sock is None

    def policy_changed(self) -> None:
        """See Session: every query is answered from the current policy."""

    def close(self) -> None:
        """See Session."""
        self._link.abort()


def open_stream(poller: Poller, answerer: Answerer, keep: Callable[[DnsStream], None]) -> Take:
    """What the acceptor of a DNS listener does with a connection; ``keep`` remembers it."""

    def take(sock: Socket, _address: tuple[str, int]) -> None:
        stream = DnsStream(poller, sock, answerer)
        keep(stream)
        stream.start()

    return take
