"""What ``status`` tells about a running sandbox: built by the monitor, read by the command."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from supervisor.events.text import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperStatus:
    """One helper; ``pid`` is None while it is down."""

    name: str
    pid: int | None
    state: str  # "starting", "serving", "down"
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The monitor's answer to ``{"ask": "status"}``; times are seconds since the epoch."""

    state: str  # "starting", "running", "ending"
    ready: bool
    workload_pid: int | None
    started: float
    policy_generation: int
    helpers: tuple[HelperStatus, ...]
    records: int
    forgotten: int
    dropped: int

    def as_dict(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "state": self.state,
            "ready": self.ready,
            "workload_pid": self.workload_pid,
            "started": self.started,
            "policy_generation": self.policy_generation,
            "helpers": [
                {"name": one.name, "pid": one.pid, "state": one.state, "restarts": one.restarts}
                for one in self.helpers
            ],
            "events": {
                "records": self.records,
                "forgotten": self.forgotten,
                "dropped": self.dropped,
            },
        }


def status_lines(status: Mapping[str, object]) -> Iterator[str]:
    """The answer for people; whatever its fields hold, these are plain lines."""
    for key in ("state", "ready", "workload_pid", "started", "policy_generation"):
        yield f"{key:18} {quoted(status.get(key, '-'))}"
    helpers = status.get("helpers")
    for one in helpers if isinstance(helpers, list) else ():
        if isinstance(one, dict):
            facts = " ".join(f"{quoted(key)}={quoted(value)}" for key, value in one.items())
            yield f"{'helper':18} {facts}"
    counts = status.get("events")
    if isinstance(counts, dict):
        facts = " ".join(f"{quoted(key)}={quoted(value)}" for key, value in counts.items())
        yield f"{'events':18} {facts}"
