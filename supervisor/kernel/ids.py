"""setgroups(2), setresgid(2), setresuid(2), setfsuid(2): who a process is."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from supervisor.kernel.libc import SyscallError, libc


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


@contextmanager
def as_file_owner(uid: int, gid: int) -> Iterator[None]:
    """For files and ``/proc`` only, be another user: setfsgid(2), setfsuid(2).

    Needs CAP_SETUID and CAP_SETGID. The kernel then sees what that user sees of its own processes
    (ptrace(2), PTRACE_MODE_READ_FSCREDS), so that no capability over everybody's is needed.
    """
    before = os.geteuid(), os.getegid()
    _setfs("setfsgid", gid)
    try:
        _setfs("setfsuid", uid)
        yield
    finally:
        _setfs("setfsuid", before[0])
        _setfs("setfsgid", before[1])


def _setfs(name: str, number: int) -> None:
    call = getattr(libc, name)
    call(number)
    # Both return the id before the call and never an error: only asking again tells.
    if call(-1) != number:
        raise SyscallError(errno.EPERM, name, str(number))
