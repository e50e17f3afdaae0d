"""Keep the watcher of the fence alive and hand on what it tells."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

from supervisor.events.frames import MAX_FRAME, FrameError
from supervisor.events.log import Log
from supervisor.events.metrics_page import clear_page
from supervisor.events.status import HelperStatus
from supervisor.monitor import codes
from supervisor.monitor.blocked_watcher import ALIVE, watch
from supervisor.monitor.helper import Helper
from supervisor.monitor.loop import Loop
from supervisor.monitor.record_server import Source

MESSAGES_PER_TURN = 64  # the loop has signals to hear, too


class BlockedKeeper:
    """A Keeper of the monitor's loop.

    ``nflog`` is the bound socket, which outlives every watcher; ``uid`` the watcher's, None where
    we cannot change ours; ``source`` takes each record as it came. With ``writes_log`` the watcher
    writes them to stderr, too; ``metrics`` is its page of numbers.
    """

    def __init__(
        self,
        *,
        nflog: int,
        uid: int | None,
        source: Source,
        writes_log: bool,
        metrics: int | None,
        loop: Loop,
        log: Log,
    ) -> None:
        self._nflog = nflog
        self._uid = uid
        self._source = source
        self._writes_log = writes_log
        self._metrics = metrics
        self._log_json, self._log_level = log.as_json, log.level
        self._loop = loop
        self._channel: socket.socket | None = None
        self._helper = Helper(
            name="watcher",
            fork=self._fork,
            crash_loop=codes.WATCHER_CRASH_LOOP,
            loop=loop,
            log=log,
        )

    def status(self) -> HelperStatus:
        """For ``status``."""
        return self._helper.status()

    def start(self) -> None:
        """Fork the watcher."""
        self._helper.start()

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
            if self._metrics is not None:
                clear_page(self._metrics)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The watcher takes nothing from the log meanwhile: a proof reads it."""
        pid = self._helper.pid
        if pid is None:
            yield
            return
        os.kill(pid, signal.SIGSTOP)
        # WNOWAIT: if it ended instead, that is for the loop to collect.
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
            self._helper.heard()

    def _fork(self) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setblocking(False)
        pid = os.fork()
        if pid == 0:
            watch(
                uid=self._uid,
                nflog=self._nflog,
                channel=theirs.detach(),
                log=self._writes_log,
                log_json=self._log_json,
                log_level=self._log_level,
                sequence=self._source.last,
                metrics=self._metrics,
            )
        theirs.close()
        self._channel = ours
        self._loop.watch(ours.fileno(), self._on_message)
        return pid

    def _on_message(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            if self._channel is None:
                return
            try:
                packet = self._channel.recv(MAX_FRAME + 1)
            except BlockingIOError:
                return
            if not packet:  # it is ending
                self._loop.unwatch(self._channel.fileno())
                return
            self._helper.serves()
            if packet == ALIVE:
                continue
            try:
                self._source.take(packet)
            except FrameError as error:
                self._helper.broke_protocol(str(error))
                return
