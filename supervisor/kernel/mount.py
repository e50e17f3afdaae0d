"""Mounting: the classic calls, for what a launch arranges in the workload's own mount namespace.

Source: mount(2), umount2(2), pivot_root(2); flags from linux/mount.h.
"""

import ctypes
import os

from supervisor.kernel.libc import check, libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_c = ctypes.c_char_p
libc.mount.argtypes = [_c, _c, _c, ctypes.c_ulong, _c]
libc.umount2.argtypes = [_c, ctypes.c_int]


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Call mount(2): ``kind`` is the file system type, ``options`` its own. Raises SyscallError."""
    encoded = [os.fsencode(text) for text in (source, target, kind)]
    check(libc.mount(*encoded, flags, os.fsencode(options) or None), "mount", target)


def umount2(target: str, flags: int = 0) -> None:
    """Call umount2(2). Raises SyscallError."""
    check(libc.umount2(os.fsencode(target), flags), "umount2", target)
