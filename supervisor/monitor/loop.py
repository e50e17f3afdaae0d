"""The monitor's one loop: signals, ended children, the terminal, the deadline."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from supervisor.errors import Code
from supervisor.events.log import Log
from supervisor.events.unexpected import fault_of
from supervisor.kernel import procfs
from supervisor.kernel.signalfd import read_signals, signalfd
from supervisor.monitor import codes
from supervisor.monitor.lifecycle import (
    FORWARDED,
    SUPERVISOR_STATUS,
    Command,
    Finish,
    Forward,
    Sweep,
)
from supervisor.monitor.terminal import Terminal

# How many ended children are collected before the loop looks at anything else: a fork bomb must
# not keep the monitor from hearing TERM.
REAPS_PER_TURN = 1024
DRAIN_DEADLINE_S = 1.0  # how long a terminal's last output may take once everything has ended


def open_signals() -> int:
    """Block what the monitor handles and return its signalfd; call before the first fork."""
    return signalfd({*FORWARDED, signal.SIGCHLD})


class Keeper(Protocol):
    """Something beside the workload that the loop keeps going."""

    def deadline(self) -> float | None:
        """The monotonic time at which ``on_time`` is wanted; in the past: at once."""

    def on_time(self, now: float) -> None:
        """The deadline passed."""

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """A child that is not the main process ended; it may or may not be the keeper's."""

    def pids(self) -> frozenset[int]:
        """The keeper's own processes, which are not the workload's."""


class Supervised(Protocol):
    """What decides: Lifecycle for a workload, and the sidecar's own."""

    def deadline(self) -> float | None:
        """When ``on_time`` is wanted."""

    def on_signal(self, number: int, *, now: float) -> list[Command]:
        """A signal came."""

    def on_failure(self, cause: Code, *, now: float) -> list[Command]:
        """What contains the workload failed for good."""

    def on_main_exit(self, status: int, *, now: float) -> list[Command]:
        """The main process ended."""

    def on_time(self, *, now: float, survivors: int) -> list[Command]:
        """The deadline passed."""


class Loop:
    """Runs one Lifecycle against the kernel. Decides nothing: the Lifecycle does."""

    def __init__(self, *, signals: int, lifecycle: Supervised, log: Log) -> None:
        self._signals = signals
        self._log = log
        self._is_failing = False
        self.main = 0
        self._lifecycle = lifecycle
        self._terminal: Terminal | None = None
        self._finish: Finish | None = None
        self._watched: dict[int, Callable[[], None]] = {}
        self._keepers: list[Keeper] = []
        self._taken: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` whenever there is something to read."""
        self._watched[descriptor] = on_readable

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; before it is closed."""
        self._watched.pop(descriptor, None)

    def keep(self, keeper: Keeper) -> None:
        """Keep this going, too."""
        self._keepers.append(keeper)

    def own_pids(self) -> frozenset[int]:
        """Every process of ours beside the monitor."""
        return frozenset[int]().union(*(keeper.pids() for keeper in self._keepers))

    def take_signal(self, number: int, act: Callable[[], None]) -> None:
        """This signal is for us and is not forwarded."""
        self._taken[number] = act

    @staticmethod
    def now() -> float:
        """The monotonic clock that every deadline is about."""
        return time.monotonic()

    def fail(self, cause: Code) -> None:
        """What contains the workload is gone: end it now, with this cause."""
        self._obey(self._lifecycle.on_failure(cause, now=time.monotonic()))

    def attach(self, terminal: Terminal) -> None:
        """Pump this terminal as well."""
        self._terminal = terminal

    def run(self, main: int) -> Finish:
        """Supervise the process ``main`` until the sandbox has ended.

        An error that nobody expected ends the workload; one more ends us, and everything with us.
        """
        self.main = main
        while self._finish is None:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - the last resort of the loop
                self._fail_closed(error)
        if self._terminal is not None:
            self._drain(self._terminal)
        for keeper in self._keepers:
            for pid in keeper.pids():
                os.kill(pid, signal.SIGKILL)  # before they notice that we end, and complain
        return self._finish

    def _fail_closed(self, error: Exception) -> None:
        self._log.emit(fault_of("monitor", error))
        if not self._is_failing:
            self._is_failing = True
            try:
                self.fail(codes.INTERNAL_ERROR)
            except Exception as another:  # noqa: BLE001 - what the first one broke may be needed here
                self._log.emit(fault_of("monitor", another))
            else:
                return
        self._finish = Finish(SUPERVISOR_STATUS, codes.INTERNAL_ERROR)

    def _turn(self) -> None:
        for descriptor, events in self._wait(self._timeout_ms()):
            if descriptor == self._signals:
                self._on_signals()
            elif descriptor in self._watched:
                self._watched[descriptor]()
            elif self._terminal is not None:
                self._terminal.on_ready(descriptor, events)
        now = time.monotonic()
        for keeper in self._keepers:
            due = keeper.deadline()
            if due is not None and now >= due:
                keeper.on_time(now)
        deadline = self._lifecycle.deadline()
        if deadline is not None and now >= deadline:
            self._obey(self._lifecycle.on_time(now=now, survivors=len(self._workload())))

    def _wait(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        poll = select.poll()
        for watched in (self._signals, *self._watched):
            poll.register(watched, select.POLLIN)
        if self._terminal is not None:
            for descriptor, events in self._terminal.interests().items():
                poll.register(descriptor, events)
        return poll.poll(timeout_ms)

    def _timeout_ms(self) -> float | None:
        candidates = [self._lifecycle.deadline(), *(keeper.deadline() for keeper in self._keepers)]
        due = [deadline for deadline in candidates if deadline is not None]
        return max(0.0, min(due) - time.monotonic()) * 1000 if due else None

    def _on_signals(self) -> None:
        for number in read_signals(self._signals):
            if number == signal.SIGCHLD:
                self._reap()
            elif number in self._taken:
                self._taken[number]()
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
            if pid == self.main:
                code = os.waitstatus_to_exitcode(status)
                self._obey(self._lifecycle.on_main_exit(code, now=time.monotonic()))
            for keeper in self._keepers:
                keeper.on_exit(pid, status, time.monotonic())
        # SIGCHLD is not queued: ask for another turn rather than leave the rest for the next one.
        signal.raise_signal(signal.SIGCHLD)

    def _workload(self) -> list[int]:
        self._reap()
        ours = self.own_pids()
        found = procfs.descendants(os.getpid(), procfs.parents())
        return [pid for pid in found if pid not in ours]

    def _obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Forward(signal=number):
                    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                        os.killpg(self.main, number)
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
