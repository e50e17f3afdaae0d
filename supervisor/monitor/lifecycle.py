"""When the sandbox ends and with which status: events in, commands out, no system call.

running ──TERM──▶ stopping (grace deadline) ──deadline, or a second TERM/INT──▶ killing
   │ --timeout ──▶ stopping, status 124                                            │
   └── the main process ends ──▶ sweeping: what it left behind is killed ──▶ finished
"""

import signal
from dataclasses import dataclass

from supervisor.errors import Code
from supervisor.monitor import codes

FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
TIMEOUT_STATUS = 124
SUPERVISOR_STATUS = 125
SIGNAL_BASE = 128
# Between two sweeps over a tree that is being killed; and how often before we give up and end,
# which as the container's main process ends them too.
SWEEP_INTERVAL_S = 0.02
SWEEP_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Forward:
    """Send a signal to the main process' group."""

    signal: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill every process of the workload that there is now."""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the supervisor with this exit status; ``cause`` where it was not the workload's own."""

    status: int
    cause: Code | None


Command = Forward | Sweep | Finish


class Lifecycle:
    """The state of one main process from launch to the end of everything it started."""

    def __init__(self, *, grace_s: float, timeout_s: float | None) -> None:
        self._grace_s = grace_s
        self._timeout_s = timeout_s
        self._deadline: float | None = None
        self._status: int | None = None  # the main process' own, once it ended
        self._cause: Code | None = None
        self._stopping = False
        self._killing = False
        self._sweep_until = 0.0

    def start(self, *, now: float) -> None:
        """The main process runs."""
        self._deadline = None if self._timeout_s is None else now + self._timeout_s

    def deadline(self) -> float | None:
        """The monotonic time at which ``on_time`` must be called, if nothing else happens."""
        return self._deadline

    def on_signal(self, number: int, *, now: float) -> list[Command]:
        """A signal reached the monitor."""
        if number not in FORWARDED or self._status is not None:
            return []
        if self._stopping and number in (signal.SIGTERM, signal.SIGINT):
            return self._kill(now)
        if number == signal.SIGTERM:
            self._stop(now)
        return [Forward(number)]

    def on_failure(self, cause: Code, *, now: float) -> list[Command]:
        """Something that contains the workload failed for good: no grace."""
        if self._status is not None:
            return []
        self._cause = cause
        return self._kill(now)

    def on_main_exit(self, status: int, *, now: float) -> list[Command]:
        """The main process ended; ``status`` as os.waitstatus_to_exitcode gives it."""
        self._status = SIGNAL_BASE - status if status < 0 else status
        self._sweep_until = now + SWEEP_DEADLINE_S
        self._deadline = now
        return []

    def on_time(self, *, now: float, survivors: int) -> list[Command]:
        """The deadline passed; ``survivors`` counts the workload's processes that still live."""
        if self._deadline is None or now < self._deadline:
            return []
        if self._status is None:
            return self._overdue(now)
        if survivors == 0:
            return [Finish(self._final_status(), self._cause)]
        if now >= self._sweep_until:
            return [Finish(self._final_status(), self._cause or codes.SURVIVORS)]
        self._deadline = now + SWEEP_INTERVAL_S
        return [Sweep()]

    def _overdue(self, now: float) -> list[Command]:
        if self._stopping or self._killing:
            return self._kill(now)
        self._cause = codes.WORKLOAD_TIMEOUT
        self._stop(now)
        return [Forward(signal.SIGTERM)]

    def _stop(self, now: float) -> None:
        self._stopping = True
        self._deadline = now + self._grace_s

    def _kill(self, now: float) -> list[Command]:
        if not self._killing:
            self._killing = True
            self._sweep_until = now + SWEEP_DEADLINE_S
            self._cause = self._cause or codes.KILLED
        if now >= self._sweep_until:
            return [Finish(self._final_status(), codes.SURVIVORS)]
        self._deadline = now + SWEEP_INTERVAL_S
        return [Sweep()]

    def _final_status(self) -> int:
        if self._cause is codes.WORKLOAD_TIMEOUT:
            return TIMEOUT_STATUS
        return SIGNAL_BASE + signal.SIGKILL if self._status is None else self._status
