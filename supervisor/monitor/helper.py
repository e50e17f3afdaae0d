"""One helper process kept alive: started again with back-off, ended when silent, given up at last."""

import os
import signal
import time
from collections.abc import Callable

from supervisor.errors import Code
from supervisor.events.log import Log
from supervisor.events.status import HelperStatus
from supervisor.events.vocabulary import (
    HelperDied,
    HelperFault,
    HelperGaveUp,
    HelperReady,
    HelperRestarted,
    Why,
)
from supervisor.monitor import codes
from supervisor.monitor.loop import Loop
from supervisor.monitor.restarts import Restarts

# A helper says that it lives once a second; silence of this length is a hang (SIGSTOP, a loop that
# does not return, a machine out of memory) and ends it.
SILENCE_S = 15.0
START_S = 60.0  # until its first word; importing on a cold, busy machine takes seconds


class Helper:
    """The life of one helper; its owner forks it and reads what it says.

    ``crash_loop`` is the cause with which the workload ends when the helper is given up.
    """

    def __init__(
        self, *, name: str, fork: Callable[[], int], crash_loop: Code, loop: Loop, log: Log
    ) -> None:
        self.pid: int | None = None
        self._name = name
        self._fork = fork
        self._crash_loop = crash_loop
        self._loop = loop
        self._log = log
        self._restarts = Restarts()
        self._starts = 0
        self._serves = False
        self._is_reaped = False
        self._start_at: float | None = None
        self._silent_at = 0.0

    def start(self) -> None:
        """Fork it."""
        self._start_at = None
        self._silent_at = time.monotonic() + START_S
        self._serves = False
        self._starts += 1
        self._is_reaped = False
        self.pid = self._fork()

    def status(self) -> HelperStatus:
        """For ``status`` and probes."""
        if self.pid is not None and self._serves:
            state = "serving"
        elif self._restarts.is_loop(now=time.monotonic()):
            state = "crash-loop"
        else:
            state = "down" if self.pid is None else "starting"
        restarts = max(0, self._starts - 1)
        return HelperStatus(name=self._name, pid=self.pid, state=state, restarts=restarts)

    def serves(self) -> None:
        """It said that it serves."""
        self.heard()
        if self._serves or self.pid is None:
            return
        self._serves = True
        if self._starts == 1:
            self._log.emit(HelperReady(helper=self._name, pid=self.pid))
        else:
            again = self._starts - 1
            self._log.emit(HelperRestarted(helper=self._name, pid=self.pid, times=again))

    def heard(self) -> None:
        """It said something."""
        self._silent_at = time.monotonic() + SILENCE_S

    def end(self) -> None:
        """Kill it, unless it ended by itself; another one takes its place."""
        if self.pid is not None and not self._is_reaped:
            os.kill(self.pid, signal.SIGKILL)

    def broke_protocol(self, cause: str) -> None:
        """What a helper says is not trusted: a broken one is ended and replaced."""
        self.complain(codes.HELPER_PROTOCOL, cause)
        self.end()

    def complain(self, code: Code, cause: str = "") -> None:
        """Record that something is wrong with it."""
        why = Why.of(code, cause)
        self._log.emit(HelperFault(helper=self._name, pid=self.pid, why=why))

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset() if self.pid is None else frozenset({self.pid})

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._start_at if self.pid is None else self._silent_at

    def on_time(self, now: float) -> None:
        """See Keeper."""
        if self.pid is not None and now >= self._silent_at:
            self.complain(codes.HELPER_SILENT)
            self.end()
            self._silent_at = now + SILENCE_S
        if self._start_at is not None and now >= self._start_at:
            self.start()

    def has_ended(self, pid: int, status: int, now: float, *, hear_out: Callable[[], None]) -> bool:
        """Whether the process that ended was this one; then it is started again, or given up.

        ``hear_out`` takes what it said last, which may be why it ended.
        """
        if pid != self.pid:
            return False
        self._is_reaped = True  # its number is nobody's by now, or somebody else's
        hear_out()
        self.pid = None
        code = os.waitstatus_to_exitcode(status)
        self._start_at = self._restarts.next_start(now=now)
        if self._start_at is None:
            why = Why.of(self._crash_loop)
            self._log.emit(HelperGaveUp(helper=self._name, status=code, why=why))
            self._loop.fail(self._crash_loop)
        else:
            delay = round(self._start_at - now, 3)
            self._log.emit(HelperDied(helper=self._name, pid=pid, status=code, restart_s=delay))
        return True
