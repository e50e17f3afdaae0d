"""How many records each lane may write, and what is reserved for it. Named, with reasons.

The lanes are separate, so a flood of allowed connections takes nothing from denials, and a flood
of blocked packets nothing from either. What a lane drops leaves a gap in the numbers, is counted,
and is summed up in a record of its own.
"""

from dataclasses import dataclass
from typing import NamedTuple

from supervisor.events.vocabulary import Lane


class Limit(NamedTuple):
    """Records a second in the long run, and how many at once."""

    per_s: float
    burst: float


LIMITS = {
    # A busy build opens a few hundred connections in a moment; 200/s is 10 % of a core at most.
    Lane.ALLOWED: Limit(200.0, 1000.0),
    # A person reads these. Repetitions are summed up per host, port and program anyway.
    Lane.DENIED: Limit(50.0, 500.0),
    # One record for a packet: the kernel limits what it logs, and so do we.
    Lane.BLOCKED: Limit(20.0, 100.0),
    # Policy, helpers, findings: a handful each minute unless something is very wrong.
    Lane.STATE: Limit(10.0, 200.0),
}


@dataclass(slots=True)
class TokenBucket:
    """Refills continuously; holds at most its burst. Times are monotonic seconds."""

    limit: Limit
    tokens: float
    at: float

    @classmethod
    def full(cls, limit: Limit, now: float) -> "TokenBucket":
        """A bucket that allows its whole burst at once."""
        return cls(limit, limit.burst, now)

    def take(self, now: float) -> bool:
        """Whether one more may go now; takes it if so. A clock that steps back adds nothing."""
        gained = max(0.0, now - self.at) * self.limit.per_s
        self.tokens = min(self.limit.burst, self.tokens + gained)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
