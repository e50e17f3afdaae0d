"""Dial one address after the other until one takes the connection, through a proxy if there is one."""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from policy.host import Address
from supervisor.egress import codes
from supervisor.egress.poller import ENDING, Poller
from supervisor.egress.upstream_proxy import MAX_ANSWER, Answer, read_answer
from supervisor.errors import Code

# All addresses together: clients wait 10 to 30 s for a connection.
DIAL_TOTAL_S = 15.0
# One that does not answer must not use up the others' time.
DIAL_EACH_S = 5.0
# A proxy dials for us, looks names up and may ask somebody else; shared among what is left to try.
PROXY_TOTAL_S = 30.0
# What is missing is here, not there: socket(2).
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
# Wrong credentials do not get better, and a directory locks an account after a few of them.
CREDENTIALS_WANTED = 407


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no connection; ``status`` is for a client that speaks HTTP."""

    code: Code
    cause: str
    status: int = 502


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An address to dial; with ``request`` it is a proxy's, which is asked for ``wanted`` first."""

    address: Address
    port: int
    wanted: str = ""
    request: bytes = field(default=b"", repr=False)  # holds credentials

    def __str__(self) -> str:
        return f"{self.wanted} through {self.address}" if self.wanted else str(self.address)


class Dial:
    """Attempts in their order; ``over`` gets the connected socket, still watched, or a Failure."""

    def __init__(
        self,
        poller: Poller,
        attempts: tuple[Attempt, ...],
        over: "Over",
    ) -> None:
        self._poller = poller
        self._left = list(reversed(attempts))
        self._over = over
        self._sock: socket.socket | None = None
        self._attempt = attempts[0]
        self._is_asked = False
        self._code = codes.UPSTREAM_UNREACHABLE
        if attempts[0].request:
            self._code = codes.UPSTREAM_PROXY_UNREACHABLE
        self._causes: list[str] = []
        self._until = poller.now + (PROXY_TOTAL_S if attempts[0].request else DIAL_TOTAL_S)
        self._each_until = self._until

    def next(self) -> None:
        """Try the next address; after the last one, report why none worked."""
        while self._left:
            share = (self._until - self._poller.now) / len(self._left)
            self._attempt = self._left.pop()
            each = share if self._attempt.request else DIAL_EACH_S
            self._each_until = self._poller.now + each
            try:
                if self._start(self._attempt):
                    return
            except OSError as error:
                cause = os.strerror(error.errno or 0)
                if error.errno in OUT_OF_DESCRIPTORS:
                    self._report(Failure(code=codes.OVERLOADED, cause=cause, status=503))
                    return
                self._missed(cause)  # no such family here
        self._report(Failure(code=self._code, cause="; ".join(self._causes)))

    def _start(self, attempt: Attempt) -> bool:
        family = socket.AF_INET if attempt.address.version == 4 else socket.AF_INET6
        self._is_asked = False
        self._sock = sock = socket.socket(
            family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        # Small writes of both sides pass at once, and a peer that vanished is noticed in hours.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        number = sock.connect_ex((str(attempt.address), attempt.port))
        if number not in (0, errno.EINPROGRESS):
            self._drop()
            self._missed(os.strerror(number))
            return False
        self._poller.add(sock.fileno(), self._ready)
        return True

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._give_up(os.strerror(number))
        elif self._is_asked:
            self._hear(sock, events)
        else:
            try:
                sock.getpeername()
            except OSError:  # an edge that was not ours: still connecting
                return
            self._connected(sock)

    def _connected(self, sock: socket.socket) -> None:
        request = self._attempt.request
        if not request:
            self._succeed(sock)
            return
        self._is_asked = True
        try:
            sent = sock.send(request)  # a fresh socket's buffer takes any request of ours whole
        except OSError as error:
            self._give_up(os.strerror(error.errno or 0))
            return
        if sent != len(request):
            self._give_up("takes no request")

    def _hear(self, sock: socket.socket, events: int) -> None:
        """Look at the answer without taking it: behind its head are the destination's bytes."""
        try:
            data = sock.recv(MAX_ANSWER, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self._give_up(os.strerror(error.errno or 0))
            return
        if not data:
            self._give_up("closed without an answer")
            return
        reading = read_answer(data)
        match reading.answer:
            case Answer.ESTABLISHED:
                sock.recv(reading.length)
                self._succeed(sock)
            case Answer.DENIED:
                self._code = codes.UPSTREAM_PROXY_DENIED
                if reading.status == CREDENTIALS_WANTED:
                    self._left.clear()
                self._give_up(f"status {reading.status}")
            case Answer.INVALID:
                self._code = codes.UPSTREAM_PROXY_INVALID
                self._give_up("an answer that is none")
            case Answer.INCOMPLETE:
                if events & ENDING:
                    self._give_up("closed within its answer")

    def sweep(self) -> None:
        """Move on where time is over."""
        if self._poller.now >= self._until:
            self.fail("no answer in time")
        elif self._poller.now >= self._each_until and self._sock is not None:
            self._give_up(os.strerror(errno.ETIMEDOUT))

    def fail(self, cause: str) -> None:
        """End without a connection."""
        self._unwatch()
        causes = "; ".join([*self._causes, cause])
        self._report(Failure(code=self._code, cause=causes, status=504))

    def _succeed(self, sock: socket.socket) -> None:
        self._sock = None
        self._report(sock)

    def _give_up(self, cause: str) -> None:
        """This attempt came to nothing: the next one."""
        self._unwatch()
        self._missed(cause)
        self.next()

    def _missed(self, cause: str) -> None:
        self._causes.append(f"{self._attempt}: {cause}")

    def _unwatch(self) -> None:
        if self._sock is not None:
            self._poller.remove(self._sock.fileno())
            self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _report(self, result: socket.socket | Failure) -> None:
        over, self._over = self._over, _nobody
        over(self, result)


Over = Callable[[Dial, socket.socket | Failure], None]


def _nobody(_dial: Dial, result: socket.socket | Failure) -> None:
    """After the report there is nobody left to tell."""
    if isinstance(result, socket.socket):
        result.close()
