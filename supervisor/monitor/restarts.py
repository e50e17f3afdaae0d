"""When a helper that died is started again, and when that is given up. Pure."""

from collections import deque

FIRST_DELAY_S = 0.05  # a single crash should not be noticed
LONGEST_DELAY_S = 5.0
# This many ends within this time are a crash loop: whatever is wrong, waiting does not mend it,
# and a workload without its egress is better ended with a cause than left to hang.
MOST_ENDS = 8
WITHIN_S = 60.0
# From here on a probe says so: half of what ends the workload, no chance event any more.
LOOP_ENDS = MOST_ENDS // 2


class Restarts:
    """The memory of one helper's ends."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=MOST_ENDS)

    def is_loop(self, *, now: float) -> bool:
        """Whether it ends again and again, though it has not been given up."""
        return self._recent(now) >= LOOP_ENDS

    def _recent(self, now: float) -> int:
        return sum(end > now - WITHIN_S for end in self._ends)

    def next_start(self, *, now: float) -> float | None:
        """The helper ended: the time of its next start, or None to give it up."""
        self._ends.append(now)
        recent = self._recent(now)
        if recent >= MOST_ENDS:
            return None
        return float(now + min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (recent - 1)))
