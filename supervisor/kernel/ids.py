"""setgroups(2), setresgid(2), setresuid(2), setfsuid(2): who a process is."""

import ctypes
import os
from collections.abc import Callable, Sequence

from supervisor.kernel.libc import SyscallError, libc

libc.setfsuid.argtypes = [ctypes.c_uint]


def _call(name: str, function: Callable[..., None], *arguments: object) -> None:
    try:
        function(*arguments)
    except OSError as error:
        raise SyscallError(error.errno or 0, name, repr(arguments)) from error


def setgroups(groups: Sequence[int]) -> None:
    """Replace the supplementary groups; needs CAP_SETGID."""
    _call("setgroups", os.setgroups, list(groups))


def setresgid(gid: int) -> None:
    """Set real, effective and saved gid."""
    _call("setresgid", os.setresgid, gid, gid, gid)


def setresuid(uid: int) -> None:
    """Set real, effective and saved uid."""
    _call("setresuid", os.setresuid, uid, uid, uid)


def setfsuid(uid: int) -> int:
    """Be ``uid`` in what this thread does to files; the one before. Needs CAP_SETUID.

    The call cannot say that it failed: without the capability nothing changes.
    """
    return int(libc.setfsuid(uid))
