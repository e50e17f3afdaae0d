"""CPU time of one event, from the moment it is known to the line that is ready to be written.

Goal: 50 µs or less a record. ``--json`` for programs.
"""

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.event_examples import ALLOWED, CURL, EXAMPLES, PYPI, RULE  # noqa: E402

from supervisor.events.event_metrics import EgressMetrics  # noqa: E402
from supervisor.events.stream import Emitted, EventStream  # noqa: E402
from supervisor.events.text import free_text  # noqa: E402
from supervisor.events.vocabulary import ConnectionOpened, Event  # noqa: E402

ROUNDS = 5
EVENTS = 4000
GOAL_US = 50.0


def as_json(emitted: Emitted) -> bool:
    return bool(emitted.json)


def as_text(emitted: Emitted) -> bool:
    return bool(emitted.text)


def both(emitted: Emitted) -> bool:
    return bool(emitted.json and emitted.text)


def cost(sink, event: Event, *, per_s: float) -> float:  # type: ignore[no-untyped-def]
    """Microseconds of CPU an event takes; the clock of the stream moves so that limits allow it."""
    best = float("inf")
    for _ in range(ROUNDS):
        now = [0.0]
        stream = EventStream(
            source="bench",
            hostname="pod-1",
            sinks=(sink,),
            observe=EgressMetrics().observe,
            clock=lambda now=now: now[0],
        )
        began = time.process_time()
        for _ in range(EVENTS):
            now[0] += per_s
            stream.emit(event)
        best = min(best, time.process_time() - began)
    return best / EVENTS * 1e6


def limited() -> float:
    """Microseconds for an event that its lane's limit drops."""
    taken = [0]

    def sink(_: Emitted) -> bool:
        taken[0] += 1
        return True

    stream = EventStream(source="bench", hostname="pod-1", sinks=(sink,), clock=lambda: 0.0)
    for _ in range(2000):
        stream.emit(EXAMPLES[0])
    began = time.process_time()
    for _ in range(EVENTS):
        stream.emit(EXAMPLES[0])
    assert taken[0] < 2000
    return (time.process_time() - began) / EVENTS * 1e6


def building() -> float:
    began = time.process_time()
    for _ in range(EVENTS):
        ConnectionOpened(actors=(CURL,), destination=PYPI, why=ALLOWED, rule=RULE)
    return (time.process_time() - began) / EVENTS * 1e6


def hostile_cause() -> float:
    texts = [
        part * 5000 for part in ("token ", "token", "-a", "//a", "cookie  ", "?", "a.", "basic ")
    ]
    worst = 0.0
    for text in texts:
        began = time.process_time()
        for _ in range(200):
            free_text(text)
        worst = max(worst, (time.process_time() - began) / 200 * 1e6)
    return worst


def main() -> int:
    cost(both, EXAMPLES[0], per_s=1.0)
    found = {"building the event": building(), "dropped by its limit": limited()}
    for event in (EXAMPLES[0], EXAMPLES[1], EXAMPLES[2], EXAMPLES[4], EXAMPLES[7]):
        name = type(event).__name__
        found[f"{name} as JSON"] = cost(as_json, event, per_s=1.0)
        found[f"{name} as a line"] = cost(as_text, event, per_s=1.0)
    found["worst cause, redacted"] = hostile_cause()
    if "--json" in sys.argv:
        print(json.dumps({"unit": "us of CPU", "goal": GOAL_US, **found}))
        return 0
    for name, value in found.items():
        print(f"{name:36} {value:6.1f} us of CPU")
    print(f"goal for one record: {GOAL_US} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
