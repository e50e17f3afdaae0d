"""Refused packets summed up, so that a program that tries again and again is told of now and then. Pure.

The first of a kind is told at once, what repeats every SUM_S; who tries too many kinds for that
gets one number for the rest. So at most 2 * KINDS + 1 messages go out in SUM_S, whatever is tried.
"""

from supervisor.monitor.blocked_messages import Blocked, Kind

SUM_S = 10.0
KINDS = 64  # an honest program that misses its network tries a handful


class BlockedSums:
    """See the module's text. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._untold: dict[Kind, int] = {}
        self._others = 0
        self._due_at: float | None = None

    @property
    def due_at(self) -> float | None:
        """When ``due`` is to be asked; None while nothing is summed up."""
        return self._due_at

    def add(self, kind: Kind, now: float) -> Blocked | None:
        """Count one packet; what is to be told at once."""
        if self._due_at is None:
            self._due_at = now + SUM_S
        if kind in self._untold:
            self._untold[kind] += 1
            return None
        if len(self._untold) < KINDS:
            self._untold[kind] = 0
            return Blocked(kind, 1)
        self._others += 1
        return None

    def lost(self, count: int, now: float) -> None:
        """Count packets about which nothing is known, or could not be told."""
        self._others += count
        if self._due_at is None:
            self._due_at = now + SUM_S

    def due(self, now: float) -> list[Blocked]:
        """The sums, once it is time; what did not repeat is forgotten."""
        if self._due_at is None or now < self._due_at:
            return []
        told = [Blocked(kind, count) for kind, count in self._untold.items() if count]
        if self._others:
            told.append(Blocked(None, self._others))
        self._untold = {one.kind: 0 for one in told if one.kind is not None}
        self._others = 0
        self._due_at = now + SUM_S if self._untold else None
        return told
