"""Wait for what has to come; the bound is met only by what hangs."""

import time
from collections.abc import Callable
from typing import Any

# Nobody waits this long for what works, however busy the machine is.
DEADLINE_S = 60.0
TURN_S = 0.05


def until(
    condition: Callable[[], Any], seen: Callable[[], object] = lambda: "", turn_s: float = TURN_S
) -> Any:
    """The first true answer of ``condition``; AssertionError with what ``seen`` says after the
    deadline.
    """
    end = time.monotonic() + DEADLINE_S
    while not (answer := condition()):
        assert time.monotonic() < end, seen()
        time.sleep(turn_s)
    return answer
