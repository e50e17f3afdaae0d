"""The one handle on the C library, and how a failed call becomes an exception.

Each wrapper in this package is named after its system call, declares its argument types, and
raises ``SyscallError``: no caller ever looks at an errno return. ``ctypes.CDLL(None)`` is the
libc that is already mapped, so nothing of the image is searched for.
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class SyscallError(OSError):
    """A system call failed: ``syscall`` is its name; ``errno`` and ``strerror`` as in OSError."""

    def __init__(self, number: int, syscall: str, what: str | bytes | None = None) -> None:
        super().__init__(number, os.strerror(number), what)
        self.syscall = syscall

    def __str__(self) -> str:
        where = "" if self.filename is None else f" ({os.fsdecode(self.filename)})"
        return f"{self.syscall}: {self.strerror}{where}"


def check(result: int, syscall: str, what: str | bytes | None = None) -> int:
    """Return ``result``, or raise SyscallError with the thread's errno if it is negative."""
    if result < 0:
        raise SyscallError(ctypes.get_errno(), syscall, what)
    return result


def raw_syscall(name: str, number: int, *arguments: object, what: str | bytes | None = None) -> int:
    """Call ``syscall(2)``: ints go as longs, ctypes values (pointers, buffers) as they are."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(int(libc.syscall(ctypes.c_long(number), *converted)), name, what)
