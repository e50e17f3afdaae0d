"""Dial one address after the other until one takes the connection, through a proxy if there is one."""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from policy.host import Address
from supervisor.egress import codes
from supervisor.egress.poller import ENDING, READABLE, Poller
from supervisor.egress.sockets import Socket, new_stream
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
    text: str = field(init=False)  # the address, as connect(2)'s wrapper wants it

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", str(self.address))

    def __str__(self) -> str:
        return f"{self.wanted} through {self.text}" if self.wanted else self.text


class Connected(NamedTuple):
    """An upstream connection, still watched; without ``may_read`` there was nothing to read yet."""

    sock: Socket
    may_read: bool


class Dial:
    """Attempts in their order; ``over`` gets a Connected or a Failure."""

    def __init__(
        self,
        poller: Poller,
        attempts: tuple[Attempt, ...],
        over: "Over",
    ) -> None:
        self._poller = poller
        self._left = list(reversed(attempts))
        self._over = over
        self._sock: Socket | None = None
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
        self._is_asked = False
        self._sock = sock = new_stream(attempt.address.version)
        # Small writes of both sides pass at once, and a peer that vanished is noticed in hours.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        number = sock.connect_ex((attempt.text, attempt.port))
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
        try:
            sock.getpeername()
        except OSError:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._give_up(os.strerror(number))
            return  # an edge that was not ours: still connecting
        if self._is_asked:
            self._hear(sock, events)
        elif self._attempt.request:
            self._ask_proxy(sock, self._attempt.request)
        else:
            self._succeed(Connected(sock, may_read=bool(events & READABLE)))

    def _ask_proxy(self, sock: Socket, request: bytes) -> None:
        self._is_asked = True
        try:
            sent = sock.send(request)  # a fresh socket's buffer takes any request of ours whole
        except OSError as error:
            self._give_up(os.strerror(error.errno or 0))
            return
        if sent != len(request):
            self._give_up("takes no request")

    def _hear(self, sock: Socket, events: int) -> None:
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
                self._succeed(Connected(sock, may_read=True))
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

    def _succeed(self, connected: Connected) -> None:
        self._sock = None
        self._report(connected)

    def _give_up(self, cause: str) -> None:
        """This attempt came to nothing: the next one."""
        self._unwatch()
        self._missed(cause)
        self.next()

    def _missed(self, cause: str) -> None:
        self._causes.append(f"{self._attempt}: {cause}")

    def _unwatch(self) -> None:
        if self._sock is not None:
            self._poller.forget(self._sock.fileno())
            self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _report(self, result: Connected | Failure) -> None:
        over, self._over = self._over, _nobody
        over(self, result)


Over = Callable[[Dial, Connected | Failure], None]


def _nobody(_dial: Dial, result: Connected | Failure) -> None:
    """After the report there is nobody left to tell."""
    if isinstance(result, Connected):
        result.sock.close()
