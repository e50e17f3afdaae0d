"""How long each stage of the start took, in milliseconds, for the containment report."""

import time


class Stages:
    """A stopwatch with names; every ``mark`` ends a stage."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.took_ms: dict[str, float] = {}

    def mark(self, name: str) -> None:
        """The stage ``name`` ends now."""
        now = time.monotonic()
        self.took_ms[name] = round((now - self._last) * 1000, 1)
        self._last = now
