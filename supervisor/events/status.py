"""What ``status`` tells about a running sandbox: built by the monitor, read by the command."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from supervisor.events.line import timestamp
from supervisor.events.probe import Health
from supervisor.events.text import quoted

SHOWN = (
    *("state", "alive", "ready", "why_not", "workload_pid", "started", "policy_generation"),
    "tunnels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperStatus:
    """One helper; ``pid`` is None while it is down."""

    name: str
    pid: int | None
    state: str  # "starting", "serving", "down", "crash-loop"
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The monitor's answer to ``{"ask": "status"}``; times are seconds since the epoch."""

    state: str  # "starting", "running", "ending"
    health: Health
    workload_pid: int | None
    started: float
    policy_generation: int
    helpers: tuple[HelperStatus, ...]
    tunnels: int
    degraded: tuple[str, ...] = ()  # controls that this container cannot give
    records: int
    forgotten: int
    dropped: int

    @property
    def ready(self) -> bool:
        """Whether the workload runs and everything serves."""
        return self.health.ready

    def as_dict(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "state": self.state,
            "alive": self.health.alive,
            "ready": self.ready,
            "why_not": self.health.why_not,
            "workload_pid": self.workload_pid,
            "started": self.started,
            "policy_generation": self.policy_generation,
            "helpers": [
                {"name": one.name, "pid": one.pid, "state": one.state, "restarts": one.restarts}
                for one in self.helpers
            ],
            "tunnels": self.tunnels,
            "degraded": list(self.degraded),
            "events": {
                "records": self.records,
                "forgotten": self.forgotten,
                "dropped": self.dropped,
            },
        }


def health_of(helpers: Iterable[HelperStatus], *, is_running: bool) -> Health:
    """Alive: no helper ends again and again. Ready: the workload runs and every helper serves."""
    not_serving = [one for one in helpers if one.state != "serving"]
    alive = all(one.state != "crash-loop" for one in not_serving)
    waits = [f"{one.name}: {one.state}" for one in not_serving]
    if not is_running:
        waits.append("the workload has not started")
    return Health(alive=alive, ready=not waits, why_not="; ".join(waits))


def status_lines(status: Mapping[str, object]) -> Iterator[str]:
    """The answer for people; whatever its fields hold, these are plain lines."""
    for key in SHOWN:
        value = status.get(key, "-")
        if key == "started" and isinstance(value, float) and isfinite(value):
            value = timestamp(int(value * 1000))
        yield f"{key:18} {quoted(value)}"
    helpers = status.get("helpers")
    for one in helpers if isinstance(helpers, list) else ():
        if isinstance(one, dict):
            facts = " ".join(f"{quoted(key)}={quoted(value)}" for key, value in one.items())
            yield f"{'helper':18} {facts}"
    degraded = status.get("degraded")
    if isinstance(degraded, list) and degraded:
        yield f"{'degraded':18} {' '.join(map(quoted, degraded))}"
    counts = status.get("events")
    if isinstance(counts, dict):
        facts = " ".join(f"{quoted(key)}={quoted(value)}" for key, value in counts.items())
        yield f"{'events':18} {facts}"
