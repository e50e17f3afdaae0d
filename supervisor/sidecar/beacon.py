"""Is the sidecar alive, and does it serve? For probes, which run our own binary in its container.

A small file in the control directory, rewritten every few seconds by the monitor's loop: what
hangs does not rewrite it. Nothing is asked of the sidecar, so a probe cannot disturb it, and the
workload can neither read nor write the file.
"""

import os
import struct
import time

from supervisor.sidecar.directory import BEACON, CONTROL

INTERVAL_S = 5.0
# A loop that did not turn for so long is stuck; a busy node may well delay one turn.
STALE_S = 30.0
_RECORD = struct.Struct("<?d")  # serving; time.monotonic(), which all processes share


class Beacon:
    """A Keeper of the sidecar's loop."""

    def __init__(self, control: int) -> None:
        """``control`` is the control directory. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(BEACON, flags, 0o600, dir_fd=control)
        self._serving = False
        self._next = 0.0

    def serving(self) -> None:
        """Egress serves."""
        self._serving = True
        self._next = 0.0

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._next

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._next = now + INTERVAL_S
        os.pwrite(self._file, _RECORD.pack(self._serving, now), 0)


def read_beacon(shared: str) -> tuple[bool, float]:
    """Whether the sidecar serves, and how many seconds ago it said so. Raises OSError, ValueError."""
    path = os.path.join(shared, CONTROL, BEACON)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        record = os.read(descriptor, _RECORD.size)
    finally:
        os.close(descriptor)
    if len(record) != _RECORD.size:
        raise ValueError("the sidecar has not said anything yet")
    serving, said = _RECORD.unpack(record)
    return serving, time.monotonic() - said
