"""Terminals: openpty, controlling terminal, window size, raw mode (ioctl_tty(2), termios(3))."""

import fcntl
import os
import termios

from supervisor.kernel.libc import SyscallError

WINSIZE_BYTES = 8  # struct winsize: rows, columns, x and y pixels, each an unsigned short


def openpty() -> tuple[int, int]:
    """A new pseudo terminal: (our end, the workload's end), both close-on-exec."""
    return os.openpty()


def tiocsctty(descriptor: int) -> None:
    """Make the terminal the controlling one of this new session."""
    try:
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise SyscallError(error.errno or 0, "ioctl(TIOCSCTTY)") from error


def copy_winsize(source: int, target: int) -> None:
    """Give ``target`` the window size of ``source`` (TIOCGWINSZ, TIOCSWINSZ)."""
    size = fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(WINSIZE_BYTES))
    fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def set_raw(descriptor: int) -> list[object]:
    """Put a terminal into raw mode; returns the attributes to give back with ``restore``."""
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSANOW)
    return before


def restore(descriptor: int, attributes: list[object]) -> None:
    """Give a terminal its attributes back."""
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)  # type: ignore[arg-type]
