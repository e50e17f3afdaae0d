"""Probes of privileges and of other processes."""

import errno
import fcntl
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial

from supervisor.kernel import ids, procfs
from supervisor.monitor.spec import Limit
from supervisor.startup.proof.model import Control, Ground, Probe

HIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESRCH, errno.EIO})
# In a user namespace that does not map the id it is not a valid one.
NO_ID = frozenset({errno.EPERM, errno.EINVAL})
# /dev/tty without a controlling terminal; an image may have no such node, or not for everybody.
NO_TERMINAL = frozenset({errno.ENXIO, errno.ENOENT, errno.EACCES})
ABI_OF_SCOPES = 6
OF_THE_SUPERVISOR = ("mem", "environ", "maps", "cwd", "root", "exe", "fd", "ns/net", "syscall")


def probes(ground: Ground) -> Iterator[Probe]:
    """Becoming somebody else, reaching the supervisor, what a process inherits."""
    for name, attempt in (
        ("become uid 0", partial(ids.setresuid, 0)),
        ("become gid 0", partial(ids.setresgid, 0)),
        ("join group 0", partial(ids.setgroups, [0])),
    ):
        yield _probe(name, "privileges", attempt, NO_ID)
    yield _probe("no privilege is left", "privileges", partial(_check_status, ground.uid))
    yield _probe("signal the supervisor", "processes", partial(os.kill, ground.monitor, 0), HIDDEN)
    yield _probe("signal itself", "processes", _signal_self)
    for name in OF_THE_SUPERVISOR:
        path = f"/proc/{ground.monitor}/{name}"
        yield _probe(f"{name} of the supervisor", "processes", partial(_look, path), HIDDEN)
    limit = partial(resource.prlimit, ground.monitor, resource.RLIMIT_CPU, (1, 1))
    if not (ground.own_process_ids and os.geteuid() == ground.uid):
        yield _probe("limit the supervisor", "processes", limit, HIDDEN)
    if ground.landlock_abi >= ABI_OF_SCOPES:  # or it is reported as lost, where it is in reach
        connect = partial(_connect, ground.control_address)
        yield _probe("ask the supervisor", "processes", connect, HIDDEN | {errno.ECONNREFUSED})
    yield _probe("no terminal is inherited", "processes", _open_terminal, NO_TERMINAL)
    for kept in ground.limits:
        yield _probe(f"limit {kept.name}", "limits", partial(_check_limit, kept))
        if kept.value:
            yield _probe(f"raise {kept.name}", "limits", partial(_raise, kept), NO_ID)
    yield _probe("nothing but stdio survives exec", "processes", _check_descriptors)
    if ground.own_process_ids:
        yield _probe(
            "no foreign process in /proc", "processes", partial(_check_alone, ground.foreign_ids)
        )
    if ground.own_shm:
        yield _probe("own /dev/shm", "processes", partial(_check_shm, ground.foreign_shm))


def _probe(
    name: str,
    control: Control,
    attempt: Callable[[], object],
    answers: frozenset[int] = frozenset(),
) -> Probe:
    return Probe(name=name, control=control, attempt=attempt, answers=answers)


def _connect(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(address)


def _signal_self() -> None:
    os.kill(os.getpid(), 0)


def _look(path: str) -> None:
    if stat.S_ISLNK(os.lstat(path).st_mode):
        os.readlink(path)
    elif os.path.isdir(path):
        os.listdir(path)
    else:
        with open(path, "rb") as file:
            file.read(1)


def _check_status(uid: int) -> None:
    status = procfs.read_status()
    sets = status.permitted | status.effective | status.inheritable
    if status.uids != (uid,) * 4 or sets | status.bounding | status.ambient:
        raise OSError(errno.EPERM, "privileges are left")
    if not status.no_new_privs or status.seccomp != 2:
        raise OSError(errno.EPERM, "no_new_privs or the filter is missing")


def _open_terminal() -> None:
    os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))


def _check_limit(kept: Limit) -> None:
    if resource.getrlimit(kept.resource) != (kept.value, kept.value):
        raise OSError(errno.EPERM, f"{kept.name} is another one")


def _raise(kept: Limit) -> None:
    try:
        resource.setrlimit(kept.resource, (kept.value, kept.value + 1))
    except ValueError as error:  # Python's word for the kernel's EPERM
        raise OSError(errno.EPERM, str(error)) from error


def _check_descriptors() -> None:
    for name in os.listdir("/proc/self/fd"):
        try:
            flags = fcntl.fcntl(int(name), fcntl.F_GETFD)
        except OSError:
            continue  # the listing's own
        if int(name) > 2 and not flags & fcntl.FD_CLOEXEC:
            raise OSError(errno.EBADF, f"descriptor {name} survives exec")


def _check_alone(foreign: int) -> None:
    """The namespace is not the monitor's, and /proc shows this one and no outer one."""
    if os.stat("/proc/self/ns/pid").st_ino == foreign:
        raise OSError(errno.EXDEV, "the process ids are the container's")
    fields = procfs.read_small("/proc/self/status").decode("ascii", "replace").splitlines()
    numbers = next(line.split()[1:] for line in fields if line.startswith("NSpid:"))
    if numbers != [str(os.getpid())]:
        raise OSError(errno.EEXIST, "/proc shows processes of an outer namespace")


def _check_shm(foreign: int) -> None:
    if os.stat("/dev/shm").st_dev == foreign:  # noqa: S108 - its very place
        raise OSError(errno.EXDEV, "shared memory is the container's")
