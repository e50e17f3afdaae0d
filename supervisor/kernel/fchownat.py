"""``fchownat(2)`` with AT_EMPTY_PATH: change the owner of the inode that a descriptor holds.

``os.fchown`` refuses an O_PATH descriptor (EBADF), and ``os.chown`` cannot pass AT_EMPTY_PATH.
An O_PATH descriptor is what one wants: opening it has no side effect on a FIFO, device or lease,
works without read permission, and names one inode whatever happens to its names.
"""

import ctypes

from supervisor.kernel.libc import check, libc

AT_EMPTY_PATH = 0x1000  # include/uapi/linux/fcntl.h

# libc's own function, not syscall(2): uid_t is unsigned, so 4294967294 passes unharmed.
_fchownat = libc.fchownat
_fchownat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
_fchownat.restype = ctypes.c_int


def fchownat(fd: int, uid: int, gid: int) -> None:
    """Give the inode that ``fd`` holds (O_PATH will do; a symlink is itself) to uid and gid.

    On anything but a directory the kernel clears set-user-ID, set-group-ID (where executable by
    the group) and ``security.capability`` in the same step. Raises SyscallError. Source: chown(2).
    """
    check(_fchownat(fd, b"", uid, gid, AT_EMPTY_PATH), "fchownat")
