"""Probes of privileges and of other processes."""

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Callable, Iterator
from functools import partial

from supervisor.kernel import ids, procfs
from supervisor.startup.proof.model import Control, Ground, Probe

HIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESRCH, errno.EIO})
# In a user namespace that does not map the id it is not a valid one.
NO_ID = frozenset({errno.EPERM, errno.EINVAL})
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
    yield _probe("core dumps are off", "processes", _check_core)
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


def _check_core() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise OSError(errno.EPERM, "core dumps are on")


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
