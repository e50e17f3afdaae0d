"""seccomp(2): put a filter on the calling thread, or on every thread of the process.

The program is plain bytes from ``supervisor.kernel.filters``; nothing here decides anything.
Source: seccomp(2), kernel ``Documentation/userspace-api/seccomp_filter.rst``.
"""

import ctypes
import errno

from supervisor.kernel.libc import SyscallError, raw_syscall
from supervisor.kernel.seccomp_table.machines import this_machine
from supervisor.kernel.seccomp_table.numbers import NUMBERS

# linux/seccomp.h
SET_MODE_FILTER = 1
FLAG_TSYNC = 1

INSTRUCTION_SIZE = 8  # struct sock_filter


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp(operation: int, flags: int, program: bytes) -> int:
    """Call seccomp(2) with an array of struct sock_filter; raises SyscallError.

    Returns 0, or with FLAG_TSYNC the id of a thread that could not take the filter.
    """
    number = NUMBERS["seccomp"][this_machine().column]
    argument = _SockFprog(len(program) // INSTRUCTION_SIZE, program)
    return raw_syscall("seccomp", number or -1, operation, flags, ctypes.byref(argument))


def install(program: bytes, *, all_threads: bool = False) -> None:
    """Add ``program`` as a filter: for good, and inherited by every child.

    The caller has no_new_privs or CAP_SYS_ADMIN in its user namespace, else EACCES. With
    ``all_threads`` either every thread has the filter afterwards, or none and SyscallError is
    raised. Raises SyscallError; ENOMEM when the filters in place are too many or too long.
    """
    stuck = seccomp(SET_MODE_FILTER, FLAG_TSYNC if all_threads else 0, program)
    if stuck:
        raise SyscallError(errno.ESRCH, "seccomp", f"thread {stuck} cannot take the filter")
