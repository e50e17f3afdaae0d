"""``--metrics-socket``: bind it, start who answers there."""

from collections.abc import Callable, Mapping

from supervisor.events.log import Log
from supervisor.events.probe import Health
from supervisor.events.status import Status
from supervisor.monitor.loop import Loop
from supervisor.monitor.metrics_keeper import MetricsKeeper
from supervisor.monitor.metrics_state import State
from supervisor.monitor.monitor_metrics import monitor_text
from supervisor.startup.inquiry import may_read_metrics
from supervisor.startup.metrics_socket import bind_metrics_socket


def described(status: Status) -> Health:
    """The health, which also says what all is well without (attack L13: nothing is silent)."""
    if status.health.why_not or not status.degraded:
        return status.health
    return status.health._replace(why_not=f"ok, without {', '.join(status.degraded)}")


def serve_metrics(
    path: str,
    *,
    workload_uid: int | None,
    uid: int | None,
    pages: Mapping[str, int],
    status: Callable[[], Status],
    records: Callable[[], Mapping[str, tuple[int, int]]],
    loop: Loop,
    log: Log,
) -> MetricsKeeper:
    """From now on answer there. Raises Refusal.

    ``workload_uid`` as bind_metrics_socket has it; ``uid`` is the responder's, None where we cannot
    change ours; ``pages`` are the other processes' numbers by the prefix of their names.
    """

    def state() -> State:
        now = status()
        counts = {**records(), "monitor": (log.sequence, log.dropped)}
        return State(described(now), monitor_text(log.counted, now, records=counts))

    keeper = MetricsKeeper(
        listener=bind_metrics_socket(path, workload_uid=workload_uid),
        pages=tuple((page, prefix) for prefix, page in pages.items()),
        uid=uid,
        state=state,
        may_ask=may_read_metrics,
        loop=loop,
        log=log,
    )
    loop.keep(keeper)
    keeper.start()
    return keeper
