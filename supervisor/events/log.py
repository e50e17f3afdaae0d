"""What the monitor says: its events on stderr and in memory, and lines for people.

Records like everybody's (supervisor.events.stream), made without structlog: the first line of that
would bring asyncio and ssl into the process that holds the privileges.
"""

import os
import select
import time

from supervisor.events.event_metrics import MonitorMetrics
from supervisor.events.sinks import LogSink
from supervisor.events.stream import Emitted, EventStream, Sink
from supervisor.events.vocabulary import Event, Severity, StartStep

FORMATS = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
# From which severity on a level shows records; ``debug`` also shows the steps of the start.
LEAST = {
    "debug": Severity.INFORMATIONAL,
    "info": Severity.INFORMATIONAL,
    "warning": Severity.MEDIUM,
    "error": Severity.HIGH,
}
# While something waits for a reader of stderr, how often it is tried again.
RETRY_S = 1.0
# A log that nobody reads must not keep the container from ending.
LAST_WORDS_S = 1.0


class Log:
    """See the module's text. A Keeper of the monitor's loop while something waits."""

    def __init__(
        self,
        *,
        format: str = "auto",  # noqa: A002
        level: str = "info",
        stream: int = 2,
    ) -> None:
        self.as_json = format == "json" or (format == "auto" and not os.isatty(stream))
        self.level = level
        self._stream = stream
        self._sink = LogSink(stream, form="json" if self.as_json else "text", least=LEAST[level])
        self.counted = MonitorMetrics()
        self._is_said = False
        self._memory: Sink | None = None
        self._tick_at: float | None = None
        self._events = EventStream(
            source="monitor",
            hostname=os.uname().nodename,
            sinks=(self._write, self._remember),
            observe=self.counted.observe,
        )

    @property
    def sequence(self) -> int:
        """The last number."""
        return self._events.sequence

    @property
    def dropped(self) -> int:
        """How many records were lost."""
        return sum(self._events.dropped.values())

    def remember(self, memory: Sink) -> None:
        """From now on records also go there: for ``events``."""
        self._memory = memory

    def raise_level(self, level: str) -> None:
        """From now on only ``level`` and above: a raw terminal belongs to the workload."""
        self._sink.least = max(self._sink.least, LEAST[level])

    def say(self, text: str) -> None:
        """Write lines for a person, outside the event stream."""
        os.write(self._stream, text.encode("utf-8", "backslashreplace") + b"\n")

    def emit(self, event: Event, *, for_people: str | None = None) -> None:
        """Record one event; a log for people gets ``for_people`` instead of its line, if given."""
        if isinstance(event, StartStep) and self.level != "debug":
            return
        self._is_said = for_people is not None and not self.as_json
        if for_people is not None and self._is_said:
            self.say(for_people)
        self._events.emit(event)
        self._is_said = False
        self._plan()

    def finish(self) -> None:
        """Write what waits, if somebody reads it within LAST_WORDS_S."""
        end = time.monotonic() + LAST_WORDS_S
        poll = select.poll()
        poll.register(self._stream, select.POLLOUT)
        while self._events.is_waiting and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self._events.tick()

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._tick_at

    def on_time(self, now: float) -> None:
        """See Keeper."""
        del now
        self._tick_at = None
        self._events.tick()
        self._plan()

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def _plan(self) -> None:
        if self._events.is_waiting and self._tick_at is None:
            self._tick_at = time.monotonic() + RETRY_S

    def _write(self, emitted: Emitted) -> bool:
        return self._is_said or self._sink(emitted)

    def _remember(self, emitted: Emitted) -> bool:
        return self._memory is None or self._memory(emitted)
