"""The responder: answers ``/metrics``, ``/healthz`` and ``/readyz`` on connections it is handed.

A process of its own, because HTTP is foreign bytes and the monitor holds privileges; not egress,
because it must answer while egress is down, and where there is none. The monitor accepts, asks the
kernel who is there, and passes the connection with its own state (supervisor.monitor.metrics_state):
that it was accepted shows that the monitor's loop turns. The other processes' numbers lie in pages.
"""

import gc
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from supervisor.egress.process import HEARTBEAT_S, confine, shed_privileges
from supervisor.events.metrics_page import read_page
from supervisor.events.probe import Probe
from supervisor.kernel import filters
from supervisor.kernel.close_range import close_all_but
from supervisor.monitor.last_words import say
from supervisor.monitor.metrics_state import MAX_STATE, decode

ALIVE = b"H"
# Scrapers and probes come one at a time; whoever opens more takes the oldest's place.
CONNECTIONS = 16
# A probe's own patience is a second or a few; nobody holds a place for longer.
PATIENCE_S = 5.0
READ_BYTES = 4096

Pages = tuple[tuple[int, str], ...]  # descriptor, prefix of its metrics' names


def respond(*, uid: int | None, channel: int, pages: Pages) -> NoReturn:
    """Be the responder, in a fork of the monitor; ``uid``: None where there is none to change to."""
    status = 1
    try:
        gc.disable()  # it makes no cycles, and looking for some would copy the monitor's pages
        shed_privileges(uid)
        close_all_but({2, channel, *(page for page, _ in pages)})
        monitor = socket.socket(fileno=channel)  # before the filter: Python asks what it is
        confine(filters.responder())
        Responder(monitor, pages).serve()
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind into the monitor
        say(channel, error)
    finally:
        os._exit(status)


@dataclass(slots=True)
class _Connection:
    probe: Probe
    until: float
    answer: bytes | None = None


class Responder:
    """See the module's text."""

    def __init__(
        self, monitor: socket.socket, pages: Pages, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._monitor = monitor
        self._pages = pages
        self._clock = clock
        self._open: dict[int, _Connection] = {}  # by descriptor, the oldest first
        self._poll = select.poll()
        self._poll.register(monitor, select.POLLIN)
        self._beat_at = clock()

    def serve(self) -> NoReturn:
        """Until the monitor ends."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, at most until the next heartbeat, and do it."""
        left = max(0.0, self._beat_at - self._clock())
        for descriptor, _ in self._poll.poll(left * 1000):
            if descriptor == self._monitor.fileno():
                self._take()
            elif descriptor in self._open:
                self._advance(descriptor, self._open[descriptor])
        now = self._clock()
        for descriptor in [one for one, it in self._open.items() if now >= it.until]:
            self._end(descriptor)
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._say_alive()

    def _take(self) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._monitor, MAX_STATE, 1)
        except ConnectionResetError:  # as the next line, with something of ours unread
            packet, descriptors = b"", []
        if not packet:
            raise SystemExit(0)  # the monitor is gone
        (descriptor,) = descriptors
        if len(self._open) == CONNECTIONS:
            self._end(next(iter(self._open)))
        state = decode(packet)
        probe = Probe(
            health=lambda: state.health, metrics=lambda: state.text + self._numbers_of_others()
        )
        self._open[descriptor] = _Connection(probe, self._clock() + PATIENCE_S)
        self._poll.register(descriptor, select.POLLIN)

    def _numbers_of_others(self) -> str:
        return "".join(read_page(page, prefix) for page, prefix in self._pages)

    def _advance(self, descriptor: int, it: _Connection) -> None:
        try:
            if it.answer is None:
                it.answer = it.probe.feed(os.read(descriptor, READ_BYTES))
            if it.answer is not None:
                it.answer = it.answer[os.write(descriptor, it.answer) :]
        except BlockingIOError:
            pass
        except OSError:
            it.answer = b""  # it went away
        if it.answer == b"":
            self._end(descriptor)
        elif it.answer is not None:
            self._poll.register(descriptor, select.POLLOUT)

    def _end(self, descriptor: int) -> None:
        del self._open[descriptor]
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def _say_alive(self) -> None:
        try:
            self._monitor.send(ALIVE)
        except BlockingIOError:
            return  # there is more to hear than the monitor has read yet
