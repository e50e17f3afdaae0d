"""What the events count: the metrics of each of our processes, in Prometheus' text form.

``observe`` sees every event before any limit. A process' name is part of its metrics' names, so
that the texts can be joined without being parsed. Labels are our own words: codes, lanes, names of
helpers; never what the workload or the network chose.
"""

from collections.abc import Iterable

from supervisor.events import vocabulary as v
from supervisor.events.metrics import Histogram, Metric, exposition
from supervisor.events.record_network import PROTOCOLS

EGRESS_PREFIX = "sandbox_egress_"
FENCE_PREFIX = "sandbox_fence_"


def _counter(name: str, meaning: str, *labels: str, known: tuple[str, ...] = ()) -> Metric:
    """``known`` values of the only label are there from the start: a rate needs the zero."""
    metric = Metric("counter", f"{name}_total", meaning, labels)
    for value in known:
        metric.set(0, value)
    return metric


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric("gauge", name, meaning, labels)


class EgressMetrics:
    """Connections, requests, names: what egress does."""

    def __init__(self) -> None:
        name = EGRESS_PREFIX
        self.connections = _counter(
            f"{name}connections",
            "Connections, by what became of them.",
            "outcome",
            known=("opened", "refused", "shed"),
        )
        self.denials = _counter(f"{name}denials", "What was refused, by reason code.", "code")
        self.requests = _counter(
            f"{name}http_requests",
            "HTTP requests, by verdict.",
            "verdict",
            known=tuple(verdict.value for verdict in v.Verdict),
        )
        self.transferred = _counter(
            f"{name}transferred_bytes",
            "Bytes relayed, to upstream and back.",
            "direction",
            known=("up", "down"),
        )
        self.durations = Histogram(
            f"{name}connection_duration_seconds", "How long relayed connections lived."
        )
        self.names = _counter(
            f"{name}dns_answers",
            "Names asked for, by the answer.",
            "answer",
            known=("given", "refused"),
        )
        self.tunnels = _gauge(f"{name}tunnels", "Connections that are relayed now.")
        self.sessions = _gauge(
            f"{name}sessions", "Connections before their relay, or judged request by request."
        )

    def observe(self, event: v.Event) -> None:
        """Count one event."""
        match event:
            case v.ConnectionOpened():
                self.connections.add("opened")
            case v.ConnectionRefused():
                self.connections.add("refused")
                self.denials.add(event.why.code)
            case v.ConnectionShed():
                self.connections.add("shed")
            case v.ConnectionClosed():
                self.durations.observe(event.seconds)
                self._relayed(event.bytes_up, event.bytes_down)
            case v.HttpRequest():
                self.requests.add(event.verdict.value)
                self._relayed(event.bytes_up, event.bytes_down)
                if event.verdict is v.Verdict.DENY:
                    self.denials.add(event.why.code)
            case v.DnsRefused():
                self.names.add("refused")
                self.denials.add(event.why.code)
            case _:
                pass

    def text(self, *, tunnels: int, sessions: int, names_given: int) -> str:
        """Everything, with what lives now and how many names had an address."""
        self.tunnels.set(tunnels)
        self.sessions.set(sessions)
        self.names.set(names_given, "given")
        return exposition(tuple(vars(self).values()))

    def _relayed(self, up: int, down: int) -> None:
        self.transferred.add("up", amount=up)
        self.transferred.add("down", amount=down)


class FenceMetrics:
    """Packets that the fence refused: what the watcher sees."""

    def __init__(self) -> None:
        name = FENCE_PREFIX
        self.blocked = _counter(
            f"{name}blocked_attempts", "Packets refused, as far as logged.", "code", "protocol"
        )
        self.overruns = _counter(
            f"{name}log_overruns", "Times that the kernel had more to tell than was read."
        )

    def observe(self, event: v.Event) -> None:
        """Count one event."""
        if isinstance(event, v.AttemptBlocked):
            self.blocked.add(event.why.code, PROTOCOLS.get(event.protocol, "other"))

    def text(self, *, overruns: int) -> str:
        """Everything."""
        self.overruns.set(overruns)
        return exposition(tuple(vars(self).values()))


class MonitorMetrics:
    """Policy, helpers, findings: what the monitor says itself."""

    def __init__(self) -> None:
        self.policies = _counter(
            "sandbox_policies",
            "New policies, by what became of them.",
            "outcome",
            known=("loaded", "rejected"),
        )
        self.deaths = _counter("sandbox_helper_deaths", "Helpers that ended.", "helper")
        self.faults = _counter("sandbox_faults", "Helpers and processes at fault.", "process")
        self.findings = _counter("sandbox_findings", "What to look at, by reason code.", "code")

    def observe(self, event: v.Event) -> None:
        """Count one event."""
        match event:
            case v.PolicyLoaded():
                self.policies.add("loaded")
            case v.PolicyRejected():
                self.policies.add("rejected")
            case v.HelperDied():
                self.deaths.add(event.helper)
            case v.HelperGaveUp():
                self.deaths.add(event.helper)
            case v.HelperFault():
                self.faults.add(event.helper)
            case v.Finding() | v.Drift():
                self.findings.add(event.why.code)
            case _:
                pass

    def all(self) -> Iterable[Metric]:
        """For the exposition, beside what is measured when it is asked for."""
        return (self.policies, self.deaths, self.faults, self.findings)
