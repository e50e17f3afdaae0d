"""Visit every directory of a tree once, on one mount, with few descriptors and no recursion.

The way down is ``openat2`` from the parent's descriptor, never across a mount or a link. The way
up is ``..``, and counts only if it leads to the directory we came from: a tree may be deeper than
the number of descriptors one may have, and deeper than a path can be long.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from supervisor.errors import Refusal
from supervisor.kernel.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from supervisor.workspace import codes
from supervisor.workspace.ownership import LIST
from supervisor.workspace.report import Skip, Tally, below, shown

# Levels of one branch that stay open. Ordinary trees are less deep, so they never go up by "..";
# together with the rest it stays far below the lowest customary limit of descriptors (256).
OPEN_LEVELS = 64

# Names of directories that wait for their turn, over all levels: about 100 bytes each, so this
# bounds memory at 100 MB. A tree with a million directories in waiting was not made for us.
PENDING_DIRECTORIES = 1_000_000

CLOSED = -1


@dataclass(slots=True)
class Level:
    """A directory on the way from the root of the walk to where it is now."""

    fd: int  # CLOSED while more than OPEN_LEVELS are below
    device: int
    inode: int
    path: str
    pending: list[str]


# Called with a directory's descriptor and path; returns the names of its directories.
Visit = Callable[[int, str], list[str]]


class Walk:
    """A depth-first walk that can pause between two directories. A context manager.

    ``visit`` sees a directory before the ones in it. Methods raise Refusal and OSError.
    """

    def __init__(self, visit: Visit, tally: Tally) -> None:
        self.visit = visit
        self.tally = tally
        self.levels: list[Level] = []
        self.pending = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for level in self.levels:
            self._close(level)

    def advance(self, until: Callable[[], bool]) -> bool:
        """Visit directories until ``until()`` holds; False if none is left."""
        while self.levels and not until():
            level = self.levels[-1]
            if level.pending:
                self._descend(level, level.pending.pop())
            else:
                self._ascend()
        return bool(self.levels)

    def finish(self) -> None:
        """Visit all that is left."""
        self.advance(lambda: False)

    def enter(self, fd: int, path: str) -> None:
        """Visit a directory: the first is the root. The walk closes ``fd``, visited or not."""
        status = os.fstat(fd)
        level = Level(fd, status.st_dev, status.st_ino, path, [])
        self.levels.append(level)
        if len(self.levels) > OPEN_LEVELS:
            self._close(self.levels[-OPEN_LEVELS - 1])
        level.pending = self.visit(fd, path)
        self.pending += len(level.pending)
        if self.pending > PENDING_DIRECTORIES:
            cause = f"{shown(path)}: more than {PENDING_DIRECTORIES} wait to be visited"
            raise Refusal(codes.TOO_MANY_DIRECTORIES, cause)

    def _descend(self, level: Level, name: str) -> None:
        self.pending -= 1
        path = below(level.path, name)
        try:
            fd = openat2(level.fd, name, LIST, resolve=RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            match error.errno:
                case errno.EXDEV:
                    self.tally.skip(Skip.OTHER_MOUNT, path)
                case errno.ENOENT | errno.ENOTDIR | errno.ELOOP:
                    self.tally.skip(Skip.CHANGED, path)
                case errno.EACCES:
                    raise Refusal(codes.UNREADABLE, f"{shown(path)} cannot be read") from error
                case _:
                    raise
        else:
            self.enter(fd, path)

    def _ascend(self) -> None:
        left = self.levels.pop()
        try:
            if self.levels and self.levels[-1].fd == CLOSED:
                self._reopen(self.levels[-1], left)
        finally:
            self._close(left)

    def _reopen(self, level: Level, left: Level) -> None:
        """Go up by ``..``; refuse if somebody moved the directory that we are in."""
        level.fd = os.open("..", LIST, dir_fd=left.fd)
        status = os.fstat(level.fd)
        if (status.st_dev, status.st_ino) != (level.device, level.inode):
            cause = f"{shown(left.path)} was moved elsewhere while it was visited"
            raise Refusal(codes.CHANGED_UNDERFOOT, cause)

    def _close(self, level: Level) -> None:
        if level.fd != CLOSED:
            os.close(level.fd)
            level.fd = CLOSED
