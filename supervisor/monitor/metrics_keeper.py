"""The metrics socket: accept, ask the kernel who is there, hand the connection to the responder.

Nothing of a request is read here. While the responder is down, connections are closed.
"""

import contextlib
import os
import socket
from collections.abc import Callable

from supervisor.events.log import Log
from supervisor.events.status import HelperStatus
from supervisor.monitor import codes
from supervisor.monitor.helper import Helper
from supervisor.monitor.loop import Loop
from supervisor.monitor.metrics_responder import ALIVE, Pages, respond
from supervisor.monitor.metrics_state import State, encode

ACCEPTS_PER_TURN = 16


class MetricsKeeper:
    """A Keeper of the monitor's loop.

    ``listener`` is a bound and listening stream socket; ``pages`` are other processes' numbers;
    ``state`` says how things are now; ``may_ask`` whom to answer.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        pages: Pages,
        uid: int | None,
        state: Callable[[], State],
        may_ask: Callable[[socket.socket], bool],
        loop: Loop,
        log: Log,
    ) -> None:
        self._listener = listener
        self._pages = pages
        self._uid = uid
        self._state = state
        self._may_ask = may_ask
        self._loop = loop
        self._channel: socket.socket | None = None
        self._helper = Helper(
            name="responder",
            fork=self._fork,
            crash_loop=codes.RESPONDER_CRASH_LOOP,
            loop=loop,
            log=log,
        )

    def start(self) -> None:
        """Fork the responder; from now on connections are taken."""
        self._helper.start()
        self._loop.watch(self._listener.fileno(), self._on_caller)

    def status(self) -> HelperStatus:
        """For ``status``."""
        return self._helper.status()

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return self._helper.pids()

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._helper.deadline()

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._helper.on_time(now)

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""
        if self._helper.has_ended(pid, status, now) and self._channel is not None:
            self._loop.unwatch(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _fork(self) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setblocking(False)
        pid = os.fork()
        if pid == 0:
            respond(uid=self._uid, channel=theirs.detach(), pages=self._pages)
        theirs.close()
        self._channel = ours
        self._loop.watch(ours.fileno(), self._on_message)
        return pid

    def _on_caller(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                caller, _address = self._listener.accept()
            except OSError:
                return  # nobody is left, or it is gone again
            with caller:
                if self._channel is None or not self._may_ask(caller):
                    continue
                caller.setblocking(False)
                # A full channel: the responder has enough to do, and the caller asks again.
                with contextlib.suppress(OSError):
                    socket.send_fds(self._channel, [encode(self._state())], [caller.fileno()])

    def _on_message(self) -> None:
        if self._channel is None:
            return
        try:
            packet = self._channel.recv(len(ALIVE) + 1)
        except (BlockingIOError, ConnectionResetError):
            return
        if not packet:  # it is ending
            self._loop.unwatch(self._channel.fileno())
        elif packet == ALIVE:
            self._helper.serves()
        else:
            self._helper.broke_protocol(f"{len(packet)} bytes that are no sign of life")
