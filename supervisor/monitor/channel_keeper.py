"""What the keepers of small helpers have in common: one process, one channel of packets to it."""

import os
import socket
from collections.abc import Callable
from typing import NoReturn

from supervisor.errors import Code
from supervisor.events.log import Log
from supervisor.events.status import HelperStatus
from supervisor.monitor import codes
from supervisor.monitor.helper import Helper
from supervisor.monitor.last_words import MAX_WORDS, heard
from supervisor.monitor.loop import Loop

MESSAGES_PER_TURN = 64  # the loop has signals to hear, too


class ChannelKeeper:
    """A Keeper of the monitor's loop.

    ``run`` is the helper's program: given its end of the channel (a descriptor, not blocking), it
    never returns. ``on_message`` is called when there is something to read from ``channel`` (None
    while the helper is down), and takes up to MESSAGES_PER_TURN; also once more when it has ended.
    """

    def __init__(
        self,
        *,
        name: str,
        run: Callable[[int], NoReturn],
        on_message: Callable[[], None],
        crash_loop: Code,
        loop: Loop,
        log: Log,
    ) -> None:
        self.channel: socket.socket | None = None
        self.helper = Helper(name=name, fork=self._fork, crash_loop=crash_loop, loop=loop, log=log)
        self._run = run
        self._on_message = on_message
        self._loop = loop

    def start(self) -> None:
        """Fork the helper."""
        self.helper.start()

    def receive(self, size: int) -> bytes | None:
        """One packet, longer than ``size`` only where it breaks the protocol; None: no more now.

        Last words are told here, and nothing that comes after them is heard: a helper that was
        taken over must not fill the log with them. If it does not end, its silence ends it.
        """
        if self.channel is None:
            return None
        try:
            packet = self.channel.recv(max(size, MAX_WORDS) + 1)
        except (BlockingIOError, ConnectionResetError):
            return None
        words = heard(packet)
        if not packet or words is not None:  # the helper is ending
            self._loop.unwatch(self.channel.fileno())
        if words is not None:
            self.helper.complain(codes.HELPER_FAILED, words)
            return None
        return packet or None

    def status(self) -> HelperStatus:
        """For ``status``."""
        return self.helper.status()

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return self.helper.pids()

    def deadline(self) -> float | None:
        """See Keeper."""
        return self.helper.deadline()

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self.helper.on_time(now)

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""
        ended = self.helper.has_ended(pid, status, now, hear_out=self._on_message)
        if ended and self.channel is not None:
            self._loop.unwatch(self.channel.fileno())
            self.channel.close()
            self.channel = None
            self.on_end()

    def on_end(self) -> None:
        """The helper is gone, and its channel closed."""

    def _fork(self) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setblocking(False)
        pid = os.fork()
        if pid == 0:
            self._run(theirs.detach())
        theirs.close()
        self.channel = ours
        self._loop.watch(ours.fileno(), self._on_message)
        return pid
