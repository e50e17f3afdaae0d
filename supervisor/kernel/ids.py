"""setgroups(2), setresgid(2), setresuid(2): who a process is."""

import os
from collections.abc import Callable, Sequence

from supervisor.kernel.libc import SyscallError


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
