"""``syncfs(2)``: write one file system's pending data to its device."""

import ctypes

from supervisor.kernel.libc import check, libc

libc.syncfs.argtypes = (ctypes.c_int,)


def syncfs(descriptor: int) -> None:
    """Flush the file system that an open file or directory is on. Raises SyscallError: EIO, ENOSPC."""
    check(libc.syncfs(descriptor), "syncfs")
