"""The deadline of the preparation, and the sign of life on stderr while it lasts."""

import math
import os
import time

from supervisor.errors import Refusal
from supervisor.workspace import codes
from supervisor.workspace.report import shown

PROGRESS_EVERY_S = 1.0


class Watch:
    """Looks at the clock on behalf of loops: raises past the deadline, reports every second."""

    def __init__(self, deadline_s: float) -> None:
        """Start now; ``deadline_s`` is in seconds from now."""
        self.started = time.monotonic()
        self.deadline_s = deadline_s
        self._next_line = self.started + PROGRESS_EVERY_S

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.started + self.deadline_s - time.monotonic())

    def look(self, path: str, entries: int) -> None:
        """Raise Refusal past the deadline; print a line if a second passed since the last."""
        now = time.monotonic()
        if now - self.started >= self.deadline_s:
            cause = f"{shown(path)}: {entries} entries were looked at within {self.deadline_s:g} s"
            raise Refusal(codes.DEADLINE, cause)
        if now >= self._next_line:
            self._next_line = now + PROGRESS_EVERY_S
            line = f"workspace: {shown(path)}: {entries} entries, {now - self.started:.0f} s\n"
            os.write(2, line.encode())

    def silence(self) -> None:
        """Print no more lines; the deadline stays. For a helper whose parent prints already."""
        self._next_line = math.inf
