"""Processes of a container, as this machine sees them."""

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of a process with one thread; none if it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def status_of(pid: int) -> str:
    """Its ``/proc/PID/status``; nothing if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""


def children_of_user(pid: int, uid: int) -> list[int]:
    """The children of ``pid`` whose real uid is this one."""
    return [child for child in children(pid) if f"\nUid:\t{uid}\t" in status_of(child)]
