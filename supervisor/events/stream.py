"""One process' events: numbered, limited, written; what is missing is said.

Numbers rise by one with every event, written or not, so a gap is a loss; a RecordsDropped record
after it says of what. Denials are also summed, before any limit, so that no flood hides one.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from supervisor.events.denial_table import DenialTable
from supervisor.events.limits import LIMITS, TokenBucket
from supervisor.events.line import line_of
from supervisor.events.record import Stamp, record_of
from supervisor.events.record_parts import Json
from supervisor.events.text import as_json
from supervisor.events.vocabulary import Event, Lane, RecordsDropped, lane_of

# A loss is told at most this often, so that telling it is no flood of its own.
SUMMARY_S = 1.0
# Repeated denials are summed up this often, and so many of them at once.
SUMS_S = 10.0
SUMS_AT_ONCE = 32
# Denials, and what is about the supervisor itself, wait here while a sink takes nothing.
RESERVED = 256
RESERVED_LANES = frozenset({Lane.DENIED, Lane.STATE})


class Emitted:
    """One record on its way out; both of its forms are made once, when a sink wants them."""

    __slots__ = ("_json", "lane", "record", "sequence")

    def __init__(self, record: Json, lane: Lane, sequence: int) -> None:
        self.record = record
        self.lane = lane
        self.sequence = sequence
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The record as one line of JSON, without its end."""
        if self._json is None:
            self._json = as_json(self.record).encode("ascii")
        return self._json

    @property
    def text(self) -> bytes:
        """The record as one readable line, without its end."""
        return line_of(self.record).encode("ascii")


class Sink(Protocol):
    """Takes a record whole, or says that it cannot now. Never blocks."""

    def __call__(self, emitted: Emitted) -> bool:
        """Whether it was taken."""


class _Outlet:
    """A sink with the reserve: what is reserved waits, everything else is lost meanwhile."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: deque[Emitted] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether something has still to be written."""
        return bool(self._waiting)

    def put(self, emitted: Emitted) -> bool:
        """Whether it was written or waits."""
        if self.drain() and self._sink(emitted):
            return True
        if emitted.lane in RESERVED_LANES and len(self._waiting) < RESERVED:
            self._waiting.append(emitted)
            return True
        return False

    def drain(self) -> bool:
        """Write what waits; whether nothing does any more."""
        while self._waiting:
            if not self._sink(self._waiting[0]):
                return False
            self._waiting.popleft()
        return True


class EventStream:
    """See the module's text. ``observe`` sees every event, for metrics, before any limit.

    ``sequence`` is the last number that an earlier process of the same name used.
    """

    def __init__(
        self,
        *,
        source: str,
        hostname: str,
        sinks: tuple[Sink, ...],
        observe: Callable[[Event], None] | None = None,
        sequence: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.sequence = sequence
        self.denials = DenialTable()
        self.dropped = dict.fromkeys(Lane, 0)
        self._hostname = hostname
        self._outlets = [_Outlet(sink) for sink in sinks]
        self._observe = observe
        self._clock, self._wall = clock, wall
        now = clock()
        self._buckets = {lane: TokenBucket.full(limit, now) for lane, limit in LIMITS.items()}
        self._untold: dict[Lane, int] = {}
        self._first_lost = self._last_lost = 0
        self._summary_at = now
        self._sums_at = now + SUMS_S

    @property
    def is_waiting(self) -> bool:
        """Whether ``tick`` has something to write, now or within a second."""
        return bool(self._untold) or any(outlet.is_waiting for outlet in self._outlets)

    def emit(self, event: Event) -> None:
        """Number, count and write one event, as far as its lane's limit goes."""
        now = self._clock()
        if self._untold and now >= self._summary_at:
            self._tell_losses(now)
        self.sequence += 1
        lane = lane_of(event)
        self.denials.add(event, self._wall())
        if self._observe is not None:
            self._observe(event)
        if not self._buckets[lane].take(now) or not self._write(event, lane):
            self._lost(lane)

    def tick(self) -> None:
        """Write what waits and what is due; to be called about once a second."""
        now = self._clock()
        for outlet in self._outlets:
            outlet.drain()
        if self._untold and now >= self._summary_at:
            self._tell_losses(now)
        if now >= self._sums_at:
            self._sums_at = now + SUMS_S
            for summed in self.denials.untold(SUMS_AT_ONCE):
                self.sequence += 1
                if not self._write(summed, Lane.DENIED):
                    self._lost(Lane.DENIED)

    def _write(self, event: Event, lane: Lane) -> bool:
        """Whether every sink took it: what one reader misses is a gap for it."""
        stamp = Stamp(self.source, self.sequence, int(self._wall() * 1000), self._hostname)
        emitted = Emitted(record_of(event, stamp), lane, self.sequence)
        taken = [outlet.put(emitted) for outlet in self._outlets]
        return all(taken)

    def _lost(self, lane: Lane) -> None:
        self.dropped[lane] += 1
        self._untold[lane] = self._untold.get(lane, 0) + 1
        self._last_lost = self.sequence
        if not self._first_lost:
            self._first_lost = self.sequence
            self._summary_at = self._clock() + SUMMARY_S

    def _tell_losses(self, now: float) -> None:
        self._summary_at = now + SUMMARY_S
        self.sequence += 1
        summary = RecordsDropped(
            first=self._first_lost,
            last=self._last_lost,
            lanes=tuple(sorted(self._untold.items())),
            denials_forgotten=self.denials.evicted_denials,
        )
        if self._write(summary, Lane.STATE):
            self._untold, self._first_lost = {}, 0
