"""Namespaces: leave one, join one, hold one by descriptor, map ids into a new user namespace.

Sources: namespaces(7), user_namespaces(7), unshare(2), setns(2).
"""

import ctypes
import fcntl
import os
from typing import NamedTuple

from supervisor.kernel.libc import SyscallError, check, libc

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_DUMPABLE = 4
NS_GET_USERNS = 0xB701
PROC_USER_INIT_INO = 0xEFFFFFFD  # include/linux/proc_ns.h

libc.unshare.argtypes = [ctypes.c_int]
libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]


class IdRange(NamedTuple):
    """One line of a ``uid_map`` or ``gid_map``: ids of the namespace, ids outside, how many."""

    inside: int
    outside: int
    size: int


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (CLONE_NEW*). Raises SyscallError."""
    check(libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Join the namespace behind a descriptor; ``flags`` says which kind is expected.

    Joining a user namespace gives all capabilities in it. Raises SyscallError.
    """
    check(libc.setns(descriptor, flags), "setns")


def open_namespace(kind: str, pid: int | None = None) -> int:
    """A close-on-exec descriptor of the namespace (``net``, ``user``, …) of a process, or our own.

    As long as it is open the namespace lives, with or without processes in it.
    """
    owner = "self" if pid is None else str(pid)
    return os.open(f"/proc/{owner}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def owned_by_initial_user_namespace(descriptor: int) -> bool:
    """Does the namespace behind a descriptor belong to the machine's first user namespace?

    A user namespace above our own cannot be looked at (EPERM); it is not ours, so we cannot say
    that it is not the first: True. Source: ioctl_ns(2), NS_GET_USERNS.
    """
    try:
        owner = fcntl.ioctl(descriptor, NS_GET_USERNS)
    except PermissionError:
        return True
    try:
        return os.fstat(owner).st_ino == PROC_USER_INIT_INO
    finally:
        os.close(owner)


def read_id_map(kind: str, pid: int | None = None) -> tuple[IdRange, ...]:
    """The ``uid_map`` or ``gid_map`` (``kind`` is ``uid`` or ``gid``) of a process, or our own."""
    owner = "self" if pid is None else str(pid)
    with open(f"/proc/{owner}/{kind}_map", encoding="utf-8") as lines:
        return tuple(IdRange(*(int(word) for word in line.split())) for line in lines)


def write_id_map(kind: str, pid: int, ranges: tuple[IdRange, ...]) -> None:
    """Map ids into the user namespace of ``pid``; possible once. Raises SyscallError.

    The kernel takes the whole map in one write(2) or not at all.
    """
    text = "".join(f"{line.inside} {line.outside} {line.size}\n" for line in ranges)
    _write(f"/proc/{pid}/{kind}_map", text)


def deny_setgroups(pid: int) -> None:
    """Forbid setgroups(2) in the user namespace of ``pid``: the price of an unprivileged gid map."""
    _write(f"/proc/{pid}/setgroups", "deny")


def allow_proc_access() -> None:
    """Make /proc/PID of this process its user's own again, so that a parent of that user may write
    the id maps; see PR_SET_DUMPABLE in prctl(2). Only for a helper that holds no secret."""
    check(libc.prctl(PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError(error.errno or 0, "open", path) from error
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise SyscallError(error.errno or 0, "write", path) from error
    finally:
        os.close(descriptor)


def may_unshare(flags: int) -> bool:
    """Would ``unshare`` with these flags succeed? Tried in a forked child, which then ends."""
    pid = os.fork()
    if pid == 0:
        try:
            unshare(flags)
        except SyscallError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
