"""The monitor's own part of ``/metrics``, made when somebody asks for it."""

import os
from collections.abc import Iterable, Iterator, Mapping

from supervisor.events.event_metrics import MonitorMetrics
from supervisor.events.metrics import Metric, exposition
from supervisor.events.status import Status
from supervisor.kernel import procfs


def monitor_text(
    counted: MonitorMetrics,
    status: Status,
    *,
    records: Mapping[str, tuple[int, int]],
) -> str:
    """Prometheus' text form. ``records``: by source, how many there were and were lost."""
    metrics = [
        *counted.all(),
        _one("sandbox_ready", "Whether the workload runs and everything serves.", status.ready),
        _one(
            "sandbox_start_time_seconds",
            "When the supervisor started, since the epoch.",
            status.started,
        ),
        _one("sandbox_policy_generation", "The policy in force.", status.policy_generation),
        *_helpers(status),
        *_records(records),
        _degraded(status.degraded),
        *_processes(status),
    ]
    return exposition(tuple(metrics))


def _one(name: str, meaning: str, value: float) -> Metric:
    metric = Metric("gauge", name, meaning)
    metric.set(value)
    return metric


def _helpers(status: Status) -> Iterator[Metric]:
    up = Metric("gauge", "sandbox_helper_up", "Whether a helper serves.", ("helper",))
    restarts = Metric(
        "counter", "sandbox_helper_restarts_total", "Helpers started again.", ("helper",)
    )
    for helper in status.helpers:
        up.set(helper.state == "serving", helper.name)
        restarts.set(helper.restarts, helper.name)
    yield up
    yield restarts


def _records(records: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    made = Metric("counter", "sandbox_records_total", "Records of events.", ("source",))
    lost = Metric("counter", "sandbox_records_dropped_total", "Records lost.", ("source",))
    for source, (number, dropped) in records.items():
        made.set(number, source)
        lost.set(dropped, source)
    yield made
    yield lost


def _degraded(controls: Iterable[str]) -> Metric:
    meaning = "Controls that this container cannot give; the policy allowed to go on."
    metric = Metric("gauge", "sandbox_control_degraded", meaning, ("control",))
    for control in controls:
        metric.set(1, control)
    return metric


def _processes(status: Status) -> Iterator[Metric]:
    memory = Metric(
        "gauge",
        "sandbox_process_resident_memory_bytes",
        "Resident memory of the supervisor's processes, shared pages counted in each.",
        ("process",),
    )
    descriptors = Metric(
        "gauge", "sandbox_process_open_fds", "Open descriptors (Linux 6.2).", ("process",)
    )
    pids = {"monitor": os.getpid()} | {
        helper.name: helper.pid for helper in status.helpers if helper.pid is not None
    }
    for name, pid in pids.items():
        try:
            pages = int(procfs.read_small(f"/proc/{pid}/statm").split()[1])
            # proc_pid_fd(5): the size of the directory is their number, since Linux 6.2.
            opened = os.stat(f"/proc/{pid}/fd").st_size
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
        memory.set(pages * os.sysconf("SC_PAGE_SIZE"), name)
        if opened:
            descriptors.set(opened, name)
    yield memory
    yield descriptors
