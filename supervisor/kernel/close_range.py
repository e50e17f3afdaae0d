"""close_range(2), by number: Debian 12's Python does not have it."""

from supervisor.kernel.libc import raw_syscall

CLOSE_RANGE = 436  # the same on every architecture
CLOSE_RANGE_CLOEXEC = 4
LAST = 0xFFFFFFFF


def close_range(first: int, last: int = LAST, *, flags: int = 0) -> None:
    """Close, or with CLOSE_RANGE_CLOEXEC mark, every descriptor from ``first`` to ``last``."""
    raw_syscall("close_range", CLOSE_RANGE, first, last, flags)


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not ``kept``."""
    start = 0
    for descriptor in sorted(kept):
        if descriptor > start:
            close_range(start, descriptor - 1)
        start = descriptor + 1
    close_range(start)
