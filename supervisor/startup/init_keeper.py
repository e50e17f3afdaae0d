"""The init of the workload's PID namespace, as the monitor's loop knows it: ours, not the workload's."""


class InitKeeper:
    """A Keeper that keeps nothing: where the init ends, the kernel ends the workload with it."""

    def __init__(self, pid: int) -> None:
        self._pids = frozenset({pid})

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return self._pids

    def deadline(self) -> float | None:
        """See Keeper."""
        return None

    def on_time(self, now: float) -> None:
        """See Keeper."""

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""
        del status, now
        self._pids -= {pid}
