"""Probes of the files: each right that the policy did not give, where nothing else refuses it.

``outside`` is a directory that every user may write to and the policy does not name: what fails
there fails because of Landlock. Without such a place the kernel's own files have to do: a process
may list / and name itself through /proc/self/comm, unless Landlock keeps it from it.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial

from supervisor.startup.filesystem_rules import inside
from supervisor.startup.proof.model import Ground, Probe

DENIED = frozenset({errno.EACCES, errno.EPERM})
MOVED = DENIED | {errno.EXDEV}
UNCHANGEABLE = DENIED | {errno.EROFS}
RNDGETENTCNT = 0x80045200  # linux/random.h
ABI_OF_TRUNCATE, ABI_OF_IOCTL = 3, 5
# What the monitor puts into ``outside`` before the fork.
FILE, DIRECTORY, PROGRAM = "file", "directory", "program"
SCRATCH = ".sandbox-proof"


def probes(ground: Ground) -> Iterator[Probe]:
    """Every right of Landlock that can be tried here."""
    if not ground.landlock_abi:
        return  # the report says that files are not confined, and by whose permission
    if not any(path == "/" for path in ground.covered):
        yield _denied("list /", partial(os.listdir, "/"))
    if not ground.nested_sandbox and not any(inside("/proc", path) for path in ground.writable):
        yield _denied("write below /proc", partial(_write, "/proc/self/comm"))
    if not any(inside("/sys/devices", path) for path in ground.covered):
        yield _denied("read /sys", partial(_read, "/sys/devices/system/cpu/online"))
    if ground.landlock_abi >= ABI_OF_IOCTL and "/dev" not in ground.writable:
        yield _denied("device ioctl", partial(_ioctl, "/dev/urandom"))
    if ground.trust_store:
        yield from _trust_store(ground.trust_store)
    if ground.outside:
        yield from _outside(ground)
    yield Probe(
        name="read /proc/self", control="files", attempt=partial(_read, "/proc/self/status")
    )
    if any(inside(ground.workdir, path) for path in ground.writable):
        yield Probe(
            name="every change in the workdir",
            control="files",
            attempt=partial(_all_changes, ground.workdir),
        )


def _denied(name: str, attempt: Callable[[], object], answers: frozenset[int] = DENIED) -> Probe:
    return Probe(name=name, control="files", attempt=attempt, answers=answers)


def _trust_store(bundle: str) -> Iterator[Probe]:
    beside = os.path.join(os.path.dirname(bundle), SCRATCH)
    for name, attempt, answers in (
        ("read the trust store", partial(_read, bundle), frozenset[int]()),
        ("write the trust store", partial(_write, bundle), UNCHANGEABLE),
        ("remove the trust store", partial(os.unlink, bundle), UNCHANGEABLE),
        ("write beside the trust store", partial(_create, beside), UNCHANGEABLE),
    ):
        yield Probe(name=name, control="trust-store", attempt=attempt, answers=answers)


def _outside(ground: Ground) -> Iterator[Probe]:
    below = partial(os.path.join, ground.outside)
    yield _denied("read a file outside", partial(_read, below(FILE)))
    yield _denied("write a file outside", partial(_write, below(FILE)))
    yield _denied("list a directory outside", partial(os.listdir, ground.outside))
    if not os.statvfs(ground.outside).f_flag & os.ST_NOEXEC:
        yield _denied("execute outside", partial(_execute, below(PROGRAM)))
    if ground.landlock_abi >= ABI_OF_TRUNCATE:
        yield _denied("truncate outside", partial(os.truncate, below(FILE), 0))
    yield _denied("create a file outside", partial(_create, below("new")))
    yield _denied("make a directory outside", partial(os.mkdir, below("new")))
    yield _denied("make a symlink outside", partial(os.symlink, "/", below("new")))
    yield _denied("make a fifo outside", partial(os.mkfifo, below("new")))
    yield _denied("make a socket outside", partial(_bind, below("new")))
    for kind, mode in (("character", stat.S_IFCHR), ("block", stat.S_IFBLK)):
        # Landlock's answer comes first; without it, EPERM for want of the capability.
        make = partial(os.mknod, below("new"), mode | 0o600, os.makedev(1, 3))
        yield _denied(f"make a {kind} device outside", make, frozenset({errno.EACCES}))
    yield _denied("remove a file outside", partial(os.unlink, below(FILE)))
    yield _denied("remove a directory outside", partial(os.rmdir, below(DIRECTORY)))
    yield _denied("rename outside", partial(os.rename, below(FILE), below("new")), MOVED)
    yield _denied("link outside", partial(os.link, below(FILE), below("new")), MOVED)


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _write(path: str) -> None:
    # For writing alone: for both, the right to read would be asked for as well.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"proof")
    finally:
        os.close(descriptor)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _execute(path: str) -> None:
    os.waitpid(os.posix_spawn(path, [path], {}), 0)


def _ioctl(path: str) -> None:
    with open(path, "rb") as device:
        fcntl.ioctl(device, RNDGETENTCNT, bytes(4))


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as named:
        named.bind(path)


def _all_changes(workdir: str) -> None:
    """Make, write, rename, link, truncate and remove one of each kind, and leave nothing."""
    place = os.path.join(workdir, f"{SCRATCH}-{os.getpid()}")
    os.mkdir(place, 0o700)
    made: list[str] = []
    try:
        for name, make in (
            ("file", _create),
            ("link", partial(os.symlink, "file")),
            ("fifo", os.mkfifo),
            ("socket", _bind),
        ):
            path = os.path.join(place, name)
            made.append(path)
            make(path)
        _write(os.path.join(place, "file"))
        os.truncate(os.path.join(place, "file"), 1)
        made.append(os.path.join(place, "hard"))
        os.link(os.path.join(place, "file"), made[-1])
        os.rename(made[-1], made[-1] + "er")
        made[-1] += "er"
    finally:
        for path in made:
            if os.path.lexists(path):
                os.unlink(path)
        os.rmdir(place)
