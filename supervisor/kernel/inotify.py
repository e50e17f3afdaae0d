"""inotify(7): notice that something happened in a directory; what, is found out by looking."""

import ctypes
import os

from supervisor.kernel.libc import check, libc

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
ANY_CHANGE = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB
# Room for many events at once: they only say that something happened, and all are thrown away.
READ_BYTES = 64 * 1024


def inotify_init1() -> int:
    """A new, non-blocking, close-on-exec descriptor."""
    return check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def inotify_add_watch(descriptor: int, path: str, mask: int = ANY_CHANGE) -> int:
    """Watch a directory."""
    name = ctypes.c_char_p(os.fsencode(path))
    watch = libc.inotify_add_watch(descriptor, name, ctypes.c_uint32(mask))
    return check(watch, "inotify_add_watch", path)


def drain(descriptor: int) -> None:
    """Read whatever happened and forget it."""
    try:
        while os.read(descriptor, READ_BYTES):
            pass
    except BlockingIOError:
        return
