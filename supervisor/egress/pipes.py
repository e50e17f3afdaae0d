"""Pipes for splice(2): borrowed while bytes are in flight, shared by all tunnels, bounded."""

import contextlib
import fcntl
import os
from dataclasses import dataclass

# The largest pipe an unprivileged process may have (/proc/sys/fs/pipe-max-size).
PIPE_SIZE = 1 << 20
# 48 MiB of the 64 MiB that one uid may hold in pipes (/proc/sys/fs/pipe-user-pages-soft). Whoever
# finds none copies through a buffer instead, which is slower and just as correct.
MAX_PIPES = 48
# Kept open between uses; creating and sizing one costs 15 µs.
KEPT_PIPES = 8


@dataclass(slots=True)
class Pipe:
    """Both ends of an empty, non-blocking pipe."""

    read_end: int
    write_end: int


class PipePool:
    """Lends empty pipes."""

    def __init__(self, limit: int = MAX_PIPES) -> None:
        self._limit = limit
        self._lent = 0
        self._free: list[Pipe] = []

    @property
    def lent(self) -> int:
        """How many are in use now."""
        return self._lent

    def borrow(self) -> Pipe | None:
        """An empty pipe, or None when the bound or the process' descriptors are used up."""
        if self._lent >= self._limit:
            return None
        pipe = self._free.pop() if self._free else _new_pipe()
        if pipe is not None:
            self._lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Return an empty pipe."""
        self._lent -= 1
        if len(self._free) < KEPT_PIPES:
            self._free.append(pipe)
        else:
            _close(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Return a pipe that still holds bytes which nobody wants any more."""
        self._lent -= 1
        _close(pipe)

    def close(self) -> None:
        """Close what is kept."""
        while self._free:
            _close(self._free.pop())


def _new_pipe() -> Pipe | None:
    try:
        pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # no descriptors left: the caller copies
        return None
    # Over the uid's budget the kernel says EPERM; a pipe of the default size works as well.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return pipe


def _close(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    os.close(pipe.write_end)
