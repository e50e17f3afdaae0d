"""The last records, for those who ask later; denials have room of their own.

Bounded by number and by bytes. Records of egress are opaque here (supervisor.events.frames).
Readers keep a Cursor and fetch: a slow one costs nothing but what it misses.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from supervisor.events.frames import Frame
from supervisor.events.vocabulary import Lane

# For each half. What one looks back at in a terminal; typical records have 1 KB, hostile ones 48.
RECORDS = 1024
RING_BYTES = 1 << 20
DENIED_LANES = frozenset({Lane.DENIED, Lane.BLOCKED})


class Kept(NamedTuple):
    """A frame and its place in the order of arrival, over all sources."""

    arrival: int
    frame: Frame


class _Half:
    """A deque that knows how many were in front of it."""

    def __init__(self) -> None:
        self.gone = 0
        self._kept: deque[Kept] = deque()
        self._size = 0

    def add(self, kept: Kept) -> None:
        self._kept.append(kept)
        self._size += len(kept.frame.record)
        while len(self._kept) > RECORDS or self._size > RING_BYTES:
            self._size -= len(self._kept.popleft().frame.record)
            self.gone += 1

    def at(self, place: int) -> Kept | None:
        """What was the ``place``-th of all, from 0; None where it is still to come."""
        index = place - self.gone
        return self._kept[index] if index < len(self._kept) else None


@dataclass(slots=True)
class Cursor:
    """How far a reader is in each half; ``others`` is None for one that wants denials only."""

    denied: int
    others: int | None


class EventRing:
    """See the module's text."""

    def __init__(self) -> None:
        self._denied, self._others = _Half(), _Half()
        self.arrived = 0

    @property
    def forgotten(self) -> int:
        """How many records are not kept any more."""
        return self._denied.gone + self._others.gone

    def add(self, frame: Frame) -> None:
        """Keep a record."""
        self.arrived += 1
        half = self._denied if frame.lane in DENIED_LANES else self._others
        half.add(Kept(self.arrived, frame))

    def oldest(self, *, only_denied: bool) -> Cursor:
        """A cursor before everything that is kept."""
        return Cursor(self._denied.gone, None if only_denied else self._others.gone)

    def missed(self, cursor: Cursor) -> int:
        """How many records went away before the cursor's reader saw them."""
        missed = max(0, self._denied.gone - cursor.denied)
        if cursor.others is not None:
            missed += max(0, self._others.gone - cursor.others)
        return missed

    def next(self, cursor: Cursor) -> Frame | None:
        """The next record in the order of arrival; None where there is none yet.

        To be asked only while nothing was ``missed``.
        """
        denied = self._denied.at(cursor.denied)
        other = None if cursor.others is None else self._others.at(cursor.others)
        if denied is not None and (other is None or denied.arrival < other.arrival):
            cursor.denied += 1
            return denied.frame
        if other is not None and cursor.others is not None:
            cursor.others += 1
            return other.frame
        return None
