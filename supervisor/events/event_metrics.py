"""What the events count: the metrics of one process. ``observe`` sees every event, before limits.

The monitor and egress each have one; its name is part of the metrics' names, so that their texts
can be joined without parsing.
"""

from supervisor.events import vocabulary as v
from supervisor.events.metrics import Histogram, Metric, exposition


class EventMetrics:
    """See the module's text. ``source`` is the process: ``monitor``, ``egress``."""

    def __init__(self, source: str) -> None:
        name = f"sandbox_{source}"
        self.connections = Metric(
            "counter", f"{name}_connections_total", "Connections, by what became of them.", ("how",)
        )
        self.denials = Metric(
            "counter", f"{name}_denials_total", "What was refused, by reason code.", ("code",)
        )
        self.requests = Metric(
            "counter", f"{name}_http_requests_total", "HTTP requests, by verdict.", ("verdict",)
        )
        self.transferred = Metric(
            "counter", f"{name}_transferred_bytes_total", "Bytes relayed.", ("direction",)
        )
        self.open = Metric("gauge", f"{name}_connections_open", "Relayed connections that live.")
        self.durations = Histogram(f"{name}_connection_seconds", "How long connections lived.")
        self.policies = Metric(
            "counter", f"{name}_policies_total", "New policies, by what became of them.", ("how",)
        )
        self.generation = Metric("gauge", f"{name}_policy_generation", "The policy in force.")
        self.helpers = Metric(
            "counter", f"{name}_helper_deaths_total", "Helpers that ended.", ("helper",)
        )
        self.findings = Metric("counter", f"{name}_findings_total", "Findings.", ("code",))
        self.dropped = Metric(
            "gauge", f"{name}_records_dropped", "Records not written, by lane.", ("lane",)
        )

    def observe(self, event: v.Event) -> None:
        """Count one event."""
        self._count_traffic(event)
        self._count_refusals(event)
        match event:
            case v.PolicyLoaded():
                self.policies.add("loaded")
                self.generation.set(event.generation)
            case v.PolicyRejected():
                self.policies.add("rejected")
            case v.HelperDied():
                self.helpers.add(event.helper)
            case v.Finding() | v.Drift():
                self.findings.add(event.why.code)
            case _:
                pass

    def text(self) -> str:
        """Everything in Prometheus' text form."""
        return exposition(tuple(vars(self).values()))

    def _count_traffic(self, event: v.Event) -> None:
        match event:
            case v.ConnectionOpened():
                self.connections.add("opened")
                self.open.add()
            case v.ConnectionClosed():
                self.open.add(amount=-1)
                self.durations.observe(event.seconds)
                self._count_bytes(event.bytes_up, event.bytes_down)
            case v.HttpRequest():
                self.requests.add(event.verdict.value)
                self._count_bytes(event.bytes_up, event.bytes_down)
            case _:
                pass

    def _count_refusals(self, event: v.Event) -> None:
        match event:
            case v.ConnectionRefused():
                self.connections.add("refused")
                self.denials.add(event.why.code)
            case v.ConnectionShed():
                self.connections.add("shed")
            case v.DnsRefused() | v.AttemptBlocked():
                self.denials.add(event.why.code)
            case v.HttpRequest() if event.verdict is v.Verdict.DENY:
                self.denials.add(event.why.code)
            case _:
                pass

    def _count_bytes(self, up: int, down: int) -> None:
        self.transferred.add("up", amount=up)
        self.transferred.add("down", amount=down)
