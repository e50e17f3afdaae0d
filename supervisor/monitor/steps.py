"""What the forked child does to itself before exec: the order of privilege, one table.

Each step takes the Launch and raises; ``SyscallError`` says what the kernel refused, ``Failed``
is a step's own verdict. Nothing here decides anything: the Launch holds every decision.
"""

import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from supervisor.kernel import ids, prctl, procfs, tty
from supervisor.kernel.close_range import CLOSE_RANGE_CLOEXEC, close_range
from supervisor.kernel.landlock import restrict_self
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.namespaces import setns
from supervisor.kernel.seccomp import install
from supervisor.monitor.spec import Confinement, Launch

ADOPT = b"P"  # followed by a pid: the process that goes on, see _enter_process_ids
ADOPTED = b"A"


class Failed(Exception):  # noqa: N818 - never leaves this room
    """A step's own verdict, beside what the kernel says."""


def _join_namespaces(what: Launch) -> None:
    root = os.stat("/")
    for descriptor, kind in what.confinement.namespaces:
        setns(descriptor, kind)
    joined = os.stat("/")
    # Joining a mount namespace moves the process to that one's own root, which is ours only where
    # the engine used pivot_root: under chroot it would be the host's.
    if (root.st_dev, root.st_ino) != (joined.st_dev, joined.st_ino):
        raise Failed("the root of the workload's mount namespace is not the container's")


def _enter_process_ids(what: Launch) -> None:
    # A joined PID namespace holds for children only: fork, report the child to the monitor, end.
    # The child then is the monitor's own (it is the nearest reaper), which says when it knows.
    if not what.confinement.own_process_ids:
        return
    report, adopted = what.handshake
    if child := os.fork():
        os.write(report, ADOPT + str(child).encode())
        os._exit(0)
    if os.read(adopted, 1) != ADOPTED:
        raise Failed("the monitor ended meanwhile")


def _set_groups(what: Launch) -> None:
    confinement = what.confinement
    # Where a user namespace maps one id only, setgroups is denied for good: then the groups must
    # already be right. The read-back compares them in every case.
    if confinement.drop_privileges and sorted(os.getgroups()) != sorted(confinement.groups):
        ids.setgroups(confinement.groups)


def _set_gid(what: Launch) -> None:
    if what.confinement.drop_privileges:
        ids.setresgid(what.confinement.gid)


def _drop_bounding_set(what: Launch) -> None:
    if what.confinement.drop_privileges:
        prctl.capbset_drop_all()


def _lock_securebits(what: Launch) -> None:
    if what.confinement.drop_privileges:
        prctl.lock_securebits()


def _set_uid(what: Launch) -> None:
    if what.confinement.drop_privileges:
        ids.setresuid(what.confinement.uid)


def _clear_capabilities(_: Launch) -> None:
    prctl.clear_ambient()
    prctl.clear_capabilities()


def _set_no_new_privs(_: Launch) -> None:
    prctl.set_no_new_privs()


def _die_with_monitor(what: Launch) -> None:
    prctl.set_pdeathsig(signal.SIGKILL)
    # A parent outside of the own PID namespace has no number in it; its end is seen at adoption.
    if os.getppid() != (0 if what.confinement.own_process_ids else what.monitor):
        raise Failed("the monitor ended meanwhile")


def _set_limits(what: Launch) -> None:
    for limit in what.confinement.limits:
        resource.setrlimit(limit.resource, (limit.value, limit.value))


def _set_umask(what: Launch) -> None:
    os.umask(what.confinement.umask)


def _new_session(_: Launch) -> None:
    os.setsid()


def _take_stdio(what: Launch) -> None:
    # Two passes, so that no target overwrites a source that is still needed.
    sources = [os.dup(descriptor) for descriptor in what.stdio]
    for target, source in enumerate(sources):
        os.dup2(source, target)
        os.close(source)
    if what.terminal:
        tty.tiocsctty(0)


def _enter_workdir(what: Launch) -> None:
    os.chdir(what.cwd)


def _read_back(what: Launch) -> None:
    """Ask the kernel, not ourselves, what this process is now; then try to become root."""
    surprises = differences(what.confinement, procfs.read_status())
    if what.confinement.drop_privileges and prctl.get_securebits() != prctl.SECUREBITS:
        surprises.append(f"securebits are {prctl.get_securebits():#x}")
    if surprises:
        raise Failed("; ".join(surprises))
    ways = (partial(ids.setresuid, 0), partial(ids.setresgid, 0), partial(ids.setgroups, [0]))
    for way_back in ways:
        try:
            way_back()
        except SyscallError:
            continue
        raise Failed(f"root regained: {way_back} succeeded")


def _restrict_files(what: Launch) -> None:
    if what.confinement.landlock is not None:
        restrict_self(what.confinement.landlock)


def _mark_descriptors(_: Launch) -> None:
    # Marked, not closed: the status pipe must live until exec.
    close_range(3, flags=CLOSE_RANGE_CLOEXEC)


def _reset_signals(_: Launch) -> None:
    # Python ignores SIGPIPE and SIGXFSZ, and exec keeps what is ignored: signal(7).
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _filter_calls(what: Launch) -> None:
    if what.confinement.seccomp is not None:
        install(what.confinement.seccomp)


class Step(NamedTuple):
    """One thing the child does to itself before exec."""

    name: str
    why_here: str
    act: Callable[[Launch], None]


# Each line may rely on what the ones above it did and on nothing below. ``plan`` prints this.
STEPS = (
    Step(
        "namespaces",
        "joining needs capabilities, and a user namespace gives them",
        _join_namespaces,
    ),
    Step("process ids", "the forked child goes on, in the PID namespace", _enter_process_ids),
    Step("groups", "needs CAP_SETGID", _set_groups),
    Step("gid", "needs CAP_SETGID", _set_gid),
    Step("bounding set", "needs CAP_SETPCAP, which the uid change takes away", _drop_bounding_set),
    Step("securebits", "needs CAP_SETPCAP", _lock_securebits),
    Step("uid", "gives up every capability", _set_uid),
    Step("capabilities", "where the uid did not change, a set may be left", _clear_capabilities),
    Step("no_new_privs", "nothing below may gain by exec", _set_no_new_privs),
    Step("death signal", "cleared by the id changes, so after them", _die_with_monitor),
    Step("limits", "lowering needs no privilege", _set_limits),
    Step("umask", "any time", _set_umask),
    Step("session", "no controlling terminal is inherited", _new_session),
    Step("stdio", "the terminal belongs to the new session", _take_stdio),
    Step("workdir", "as the identity: what it cannot enter is not its workdir", _enter_workdir),
    Step("read-back", "before Landlock, which may hide /proc", _read_back),
    Step("landlock", "needs no_new_privs", _restrict_files),
    Step("descriptors", "nothing but 0, 1 and 2 survives exec", _mark_descriptors),
    Step("signals", "exec keeps what is ignored or blocked", _reset_signals),
    Step("seccomp", "last: the steps above use what it refuses", _filter_calls),
)


def differences(confinement: Confinement, status: procfs.Status) -> list[str]:
    """What differs between the confinement and what the kernel reports, one sentence each."""
    wanted = {
        "uids": (status.uids, (confinement.uid,) * 4),
        "gids": (status.gids, (confinement.gid,) * 4),
        "groups": (status.groups, tuple(sorted(confinement.groups))),
        "CapInh": (status.inheritable, 0),
        "CapPrm": (status.permitted, 0),
        "CapEff": (status.effective, 0),
        "CapBnd": (status.bounding, 0),
        "CapAmb": (status.ambient, 0),
        "NoNewPrivs": (status.no_new_privs, True),
    }
    return [
        f"{name} is {found!r} instead of {expected!r}"
        for name, (found, expected) in wanted.items()
        if found != expected
    ]
