"""The monitor's one loop: signals, ended children, the terminal, the deadline."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable

from supervisor.kernel import procfs
from supervisor.kernel.signalfd import read_signals, signalfd
from supervisor.monitor.lifecycle import FORWARDED, Command, Finish, Forward, Lifecycle, Sweep
from supervisor.monitor.terminal import Terminal

# How many ended children are collected before the loop looks at anything else: a fork bomb must
# not keep the monitor from hearing TERM.
REAPS_PER_TURN = 1024
DRAIN_DEADLINE_S = 1.0  # how long a terminal's last output may take once everything has ended


def open_signals() -> int:
    """Block what the monitor handles and return its signalfd; call before the first fork."""
    return signalfd({*FORWARDED, signal.SIGCHLD})


class Loop:
    """Runs one Lifecycle against the kernel. Decides nothing: the Lifecycle does."""

    def __init__(self, *, signals: int, main: int, lifecycle: Lifecycle) -> None:
        self._signals = signals
        self._main = main
        self._lifecycle = lifecycle
        self._terminal: Terminal | None = None
        self._finish: Finish | None = None

    def attach(self, terminal: Terminal) -> None:
        """Pump this terminal as well."""
        self._terminal = terminal

    def run(self) -> Finish:
        """Supervise until the sandbox has ended."""
        while self._finish is None:
            self._turn()
        if self._terminal is not None:
            self._drain(self._terminal)
        return self._finish

    def _turn(self) -> None:
        for descriptor, events in self._wait(self._timeout_ms()):
            if descriptor == self._signals:
                self._on_signals()
            elif self._terminal is not None:
                self._terminal.on_ready(descriptor, events)
        now = time.monotonic()
        deadline = self._lifecycle.deadline()
        if deadline is not None and now >= deadline:
            self._obey(self._lifecycle.on_time(now=now, survivors=len(self._workload())))

    def _wait(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if self._terminal is not None:
            for descriptor, events in self._terminal.interests().items():
                poll.register(descriptor, events)
        return poll.poll(timeout_ms)

    def _timeout_ms(self) -> float | None:
        deadline = self._lifecycle.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000

    def _on_signals(self) -> None:
        for number in read_signals(self._signals):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGWINCH and self._terminal is not None:
                self._terminal.resize()
            else:
                self._obey(self._lifecycle.on_signal(number, now=time.monotonic()))

    def _reap(self) -> None:
        for _ in range(REAPS_PER_TURN):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._main:
                code = os.waitstatus_to_exitcode(status)
                self._obey(self._lifecycle.on_main_exit(code, now=time.monotonic()))
        # SIGCHLD is not queued: ask for another turn rather than leave the rest for the next one.
        signal.raise_signal(signal.SIGCHLD)

    def _workload(self) -> list[int]:
        self._reap()
        return procfs.descendants(os.getpid(), procfs.parents())

    def _obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Forward(signal=number):
                    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                        os.killpg(self._main, number)
                case Sweep():
                    self._sweep()
                case Finish():
                    self._finish = command

    def _sweep(self) -> None:
        # First stop, then kill: what is stopped cannot fork away from under the second pass.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self._workload():
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(pid, number)

    def _drain(self, terminal: Terminal) -> None:
        end = time.monotonic() + DRAIN_DEADLINE_S
        while not terminal.drained() and (left := end - time.monotonic()) > 0:
            for descriptor, events in self._wait(left * 1000):
                if descriptor != self._signals:
                    terminal.on_ready(descriptor, events)
