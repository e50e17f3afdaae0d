"""The workload's own processes and mounts: a PID namespace with its init, /proc, /dev/shm.

A short-lived child makes them, because the monitor itself must stay outside. What the container
does not allow is left out and named; whether the start may go on without it is decided elsewhere.

The init is process 1 of the workload's PID namespace. It does nothing: the kernel reaps what is
handed to it, no signal from inside reaches it, and it ends when the monitor does or kills it,
whereupon the kernel kills every process of the namespace. The workload's main process is not the
init but the monitor's own child, so its exit status and its terminal are the monitor's directly.
"""

import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import NoReturn

from supervisor.errors import Refusal
from supervisor.fence import channel
from supervisor.kernel import capabilities, filters, ids, prctl, procfs, seccomp
from supervisor.kernel.close_range import close_range
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    open_namespace,
    setns,
    unshare,
)
from supervisor.startup import codes
from supervisor.startup.forked import NOBODY
from supervisor.startup.private_mounts import (
    keep_mounts_private,
    mount_private_proc,
    mount_private_shm,
    mount_read_only,
    shm_size,
)
from supervisor.startup.trust_store import mount_point, write

DEADLINE_S = 10.0  # a few milliseconds of system calls on an idle machine
MADE, FORKED = "made", "forked"
PRIVATE_PROC, PRIVATE_SHM, PID_NAMESPACE = "private-proc", "private-shm", "pid-namespace"
TRUST_STORE = "trust-store"
SPARE_BYTES = 64 << 10  # beside the bundle: two directory entries, and the rounding to pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Seclusion:
    """Descriptors of what was made (close-on-exec, kept for every launch), and what was not."""

    mount: int | None  # mount namespace
    root: int | None  # the root directory as seen in it
    pid: int | None  # PID namespace
    init: int | None  # its process 1, as we number it
    lacking: tuple[tuple[str, str], ...]  # (control of policy.words, why it is not there)


def seclude(user: int | None, bundle: bytes = b"") -> Seclusion:
    """Make what the container allows; ``user`` is the user namespace to do it through, if any.

    ``bundle`` is what the trust store shall hold; nothing is mounted for an empty one.
    Raises Refusal when the child fails in a way that is not the kernel's "no".
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monitor = os.pidfd_open(os.getpid())
    helper = os.fork()
    if helper == 0:
        ours.close()
        _be_helper(theirs, user, monitor, bundle)
    theirs.close()
    os.close(monitor)
    try:
        with ours:
            made, idle = _collect(ours, time.monotonic() + DEADLINE_S)
    except TimeoutError as error:
        os.kill(helper, signal.SIGKILL)
        raise Refusal(codes.SECLUSION_FAILED, f"no result within {DEADLINE_S} s") from error
    finally:
        os.waitpid(helper, 0)
    if idle is not None:
        os.waitpid(idle, 0)  # ours, now that the helper ended
    return made


def _collect(ours: socket.socket, deadline: float) -> tuple[Seclusion, int | None]:
    """What was made, and an init that had no use without a /proc and is ending."""
    init: int | None = None
    while True:
        match channel.receive(ours, deadline):
            case ([word, number], []) if word == FORKED:
                init = int(number)
            case ([word, names, *lacking], descriptors) if word == MADE:
                held = dict(zip(names.split(), descriptors, strict=True))
                made = Seclusion(
                    mount=held.get("mount"),
                    root=held.get("root"),
                    pid=held.get("pid"),
                    init=init if "pid" in held else None,
                    lacking=tuple(zip(lacking[::2], lacking[1::2], strict=True)),
                )
                return made, init if "pid" not in held else None
            case other:
                raise Refusal(codes.SECLUSION_FAILED, f"the set-up helper said {other}")


def _be_helper(end: socket.socket, user: int | None, monitor: int, bundle: bytes) -> NoReturn:
    try:
        _make(end, user, monitor, bundle)
    except BaseException as error:  # noqa: BLE001 - the last frame of a forked child
        channel.send(end, ["failed", repr(error)])
    finally:
        os._exit(0)


def _make(end: socket.socket, user: int | None, monitor: int, bundle: bytes) -> None:
    everything = (PRIVATE_SHM, TRUST_STORE, PRIVATE_PROC, PID_NAMESPACE)
    try:
        if user is not None:
            setns(user, CLONE_NEWUSER)
        elif not capabilities.has(procfs.read_status().effective, "SYS_CHROOT"):
            why = "no CAP_SYS_CHROOT, which joining a mount namespace needs: setns(2)"
            _report(end, {}, dict.fromkeys(everything, why))
            return
        unshare(CLONE_NEWNS)
        keep_mounts_private()
    except SyscallError as error:
        _report(end, {}, dict.fromkeys(everything, f"no mount namespace: {error}"))
        return
    lacking: dict[str, str] = {}
    try:
        mount_private_shm(shm_size())
    except OSError as error:
        lacking[PRIVATE_SHM] = str(error)
    if bundle:
        try:
            size = len(bundle) + SPARE_BYTES
            mount_read_only(mount_point(), size, lambda directory: write(bundle, directory))
        except OSError as error:
            lacking[TRUST_STORE] = str(error)
    try:
        unshare(CLONE_NEWPID)
    except SyscallError as error:
        lacking |= dict.fromkeys((PRIVATE_PROC, PID_NAMESPACE), f"no PID namespace: {error}")
        _report(end, _mounts(), lacking)
        return
    numbered, waiting = os.pipe2(os.O_CLOEXEC)
    if init := os.fork():
        channel.send(end, [FORKED, str(init)])
        return
    os.close(waiting)
    os.read(numbered, 1)  # ends with the helper, once it has said which process this is
    _be_init(end, monitor, lacking)


def _mounts() -> dict[str, int]:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    return {"mount": open_namespace("mnt"), "root": os.open("/", flags)}


def _report(end: socket.socket, held: dict[str, int], lacking: dict[str, str]) -> None:
    words = [word for pair in lacking.items() for word in pair]
    channel.send(end, [MADE, " ".join(held), *words], list(held.values()))


def _be_init(end: socket.socket, monitor: int, lacking: dict[str, str]) -> NoReturn:
    try:
        mount_private_proc(own_pid_namespace=True)
    except SyscallError as error:
        # Process numbers that do not match /proc break more programs than they protect from.
        why = f"no fresh /proc ({error}); a user namespace may not uncover what the engine masks"
        _report(end, _mounts(), lacking | dict.fromkeys((PRIVATE_PROC, PID_NAMESPACE), why))
        os._exit(0)
    _confine_init()
    _report(end, {**_mounts(), "pid": open_namespace("pid")}, lacking)
    os.chdir("/")
    os.dup2(monitor, 0)
    close_range(1)
    seccomp.install(filters.init())
    alive = select.poll()
    alive.register(0, select.POLLIN)
    alive.poll()
    os._exit(0)


def _confine_init() -> None:
    """Keep nothing but the place of process 1."""
    # Ignored, the kernel reaps at once what ends: wait(2), "Notes".
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    prctl.set_undumpable()
    if os.geteuid() == 0:
        ids.setgroups([])
        ids.setresgid(NOBODY)
        ids.setresuid(NOBODY)
    prctl.clear_capabilities()
    prctl.set_no_new_privs()
