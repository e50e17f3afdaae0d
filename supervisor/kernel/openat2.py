"""``openat2(2)``: open a path below a directory descriptor under rules the kernel enforces.

Python has no wrapper for it and glibc has none either, so it goes through ``syscall(2)``.
"""

import ctypes
import errno
import os

from supervisor.kernel.libc import SyscallError, raw_syscall

# Every architecture that Linux gained or renumbered since 5.6 shares this one.
SYS_OPENAT2 = 437

# include/uapi/linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# The kernel answers EAGAIN when a rename or mount anywhere on the machine raced with the walk and
# it could not rule out an escape. Somebody who renames in a loop must not be able to stop us from
# opening a file, nor keep us here for ever: man openat2(2) leaves the number to the caller.
RACED_WALK_RETRIES = 32


class OpenHow(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` relative to ``dirfd`` and return a close-on-exec descriptor.

    ``flags`` are ``os.O_*``; ``mode`` is the mode of a created file and must be 0 unless
    ``O_CREAT`` or ``O_TMPFILE`` is set; ``resolve`` is a sum of ``RESOLVE_*``. Raises SyscallError:
    ELOOP for a symlink that ``resolve`` forbids, EXDEV for a way out of ``dirfd`` or onto another
    mount, ENOSYS before Linux 5.6. A path with a NUL byte raises ValueError. Source: openat2(2).
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"a path cannot hold a NUL byte: {path!r}")
    how = OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=resolve)
    for _ in range(RACED_WALK_RETRIES):
        try:
            return _openat2(dirfd, name, how)
        except SyscallError as failure:
            if failure.errno != errno.EAGAIN:
                raise
    return _openat2(dirfd, name, how)


def _openat2(dirfd: int, name: bytes, how: OpenHow) -> int:
    return raw_syscall(
        "openat2",
        SYS_OPENAT2,
        dirfd,
        ctypes.c_char_p(name),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
        what=name,
    )
