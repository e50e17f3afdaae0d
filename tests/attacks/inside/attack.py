"""What an attack is, for the list that runs inside the sandbox. Standard library only."""

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

LIBC = ctypes.CDLL(None, use_errno=True)
EPERM, EACCES, ENOSYS = errno.EPERM, errno.EACCES, errno.ENOSYS
HIDDEN = (EPERM, EACCES, errno.ENOENT, errno.ESRCH)


class Broken(Exception):
    """The defence did not hold: what got through."""


@dataclass(frozen=True)
class Attack:
    """A row of the list: ``attempt`` raises Broken if it got through; ``paired`` must succeed."""

    row: str
    name: str
    attempt: Callable[[], None]
    paired: Callable[[], object]


ATTACKS: list[Attack] = []


def attack(row: str, name: str, paired: Callable[[], object]):
    """Register a function as an attack."""

    def register(attempt):
        ATTACKS.append(Attack(row, name, attempt, paired))
        return attempt

    return register


def refused(call: Callable[[], object], *answers: int, what: str = "") -> None:
    """Broken unless ``call`` fails with one of the errnos."""
    try:
        call()
    except OSError as error:
        if error.errno in answers:
            return
        raise Broken(f"{what}: {errno.errorcode.get(error.errno, error.errno)}") from error
    raise Broken(f"{what}: succeeded")


def raw(number: int, *arguments: int) -> int:
    """A system call by number; OSError with its errno."""
    converted = [ctypes.c_long(argument) for argument in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *converted)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def in_child(act: Callable[[], object]) -> int:
    """Run in a forked child: its exit code, negative for a signal; Broken inside becomes 99."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except BaseException as error:
            os.write(2, repr(error).encode() + b"\n")
            os._exit(99)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sleeping_child() -> int:
    """A process of our own to be reached for; the caller ends it."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def end(pid: int) -> None:
    """End a child."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def status() -> dict[str, str]:
    """``/proc/self/status``."""
    with open("/proc/self/status") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
