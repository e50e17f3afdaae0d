"""Keep the watcher of the fence alive and hand on what it tells."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

from supervisor.events.frames import MAX_FRAME, FrameError
from supervisor.events.log import Log
from supervisor.events.metrics_page import clear_page
from supervisor.monitor import codes
from supervisor.monitor.blocked_watcher import ALIVE, watch
from supervisor.monitor.channel_keeper import MESSAGES_PER_TURN, ChannelKeeper
from supervisor.monitor.loop import Loop
from supervisor.monitor.record_server import Source


class BlockedKeeper(ChannelKeeper):
    """The watcher's keeper.

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
        def run(channel: int) -> NoReturn:
            watch(
                uid=uid,
                nflog=nflog,
                channel=channel,
                log=writes_log,
                log_json=log.as_json,
                log_level=log.level,
                sequence=source.last,
                metrics=metrics,
            )

        super().__init__(
            name="watcher",
            run=run,
            on_message=self._on_message,
            crash_loop=codes.WATCHER_CRASH_LOOP,
            loop=loop,
            log=log,
        )
        self._source = source
        self._metrics = metrics

    def on_end(self) -> None:
        """What it counted ended with it."""
        if self._metrics is not None:
            clear_page(self._metrics)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The watcher takes nothing from the log meanwhile: a proof reads it."""
        pid = self.helper.pid
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
            self.helper.heard()

    def _on_message(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            packet = self.receive(MAX_FRAME)
            if packet is None:
                return
            self.helper.serves()
            if packet == ALIVE:
                continue
            try:
                self._source.take(packet)
            except FrameError as error:
                self.helper.broke_protocol(str(error))
                return
