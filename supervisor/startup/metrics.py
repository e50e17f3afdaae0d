"""``--metrics-socket``: bind it, start who answers there."""

from collections.abc import Callable, Iterable, Mapping

from supervisor.events.log import Log
from supervisor.events.status import Status
from supervisor.monitor.loop import Loop
from supervisor.monitor.metrics_keeper import MetricsKeeper
from supervisor.monitor.metrics_state import State
from supervisor.monitor.monitor_metrics import monitor_text
from supervisor.startup.inquiry import may_read_metrics
from supervisor.startup.metrics_socket import bind_metrics_socket


def serve_metrics(
    path: str,
    *,
    workload_uid: int | None,
    uid: int | None,
    pages: Mapping[str, int],
    status: Callable[[], Status],
    records: Callable[[], Mapping[str, tuple[int, int]]],
    degraded: Callable[[], Iterable[str]],
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
        text = monitor_text(log.counted, now, records=counts, degraded=degraded())
        return State(now.health, text)

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
