"""The workload's own /proc and /dev/shm, where the container allows mounts.

Called inside the workload's own mount namespace (and PID namespace, if it has one) by whoever sets
it up. What the kernel refuses is raised: whether the start goes on without it is the policy's
decision (controls ``private-proc`` and ``private-shm``).
"""

import errno
import os
from collections.abc import Callable

from supervisor.kernel.libc import SyscallError
from supervisor.kernel.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    mount,
    umount2,
)

# What container engines mask in their /proc (OCI runtime-spec, "Default Filesystems" as podman and
# docker fill it in): a fresh one shows it again. Memory and keys of the host, its timers and buses.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
)
_QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC


def keep_mounts_private() -> None:
    """Cut the mount namespace off: nothing mounted here is seen outside, nor the other way round."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def mount_private_proc(*, own_pid_namespace: bool) -> None:
    """Mount a fresh /proc that shows the workload's processes, with the sensitive files masked.

    In its own PID namespace that is all there is. Otherwise processes are hidden that the reader
    could not trace, which Landlock extends to those of other sessions. Raises SyscallError; EPERM
    in a user namespace where the container's own /proc is masked in parts.
    """
    mount("proc", "/proc", "proc", _QUIET, "" if own_pid_namespace else "hidepid=2")
    try:
        for path in MASKED:
            _mask(path)
    except SyscallError:
        umount2("/proc", MNT_DETACH)  # never one that shows what the engine hides
        raise


def mount_private_shm(size: int) -> None:
    """Mount an own /dev/shm of at most ``size`` bytes. Raises SyscallError."""
    mount("shm", "/dev/shm", "tmpfs", _QUIET, f"mode=1777,size={size}")  # noqa: S108 - its very place


def mount_read_only(target: str, size: int, fill: Callable[[int], None]) -> None:
    """Mount a file system of ``size`` bytes that ``fill`` writes into and nobody after it.

    ``fill`` gets a descriptor of its root. Raises OSError.
    """
    mount("sandbox", target, "tmpfs", _QUIET, f"mode=0755,size={size}")
    try:
        directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fill(directory)
        finally:
            os.close(directory)
        mount("sandbox", target, "tmpfs", _QUIET | MS_REMOUNT | MS_RDONLY)
    except OSError:
        umount2(target, MNT_DETACH)
        raise


def shm_size() -> int:
    """Return the size of the container's /dev/shm in bytes, as its own limit for the workload."""
    status = os.statvfs("/dev/shm")  # noqa: S108
    return status.f_blocks * status.f_frsize


def _mask(path: str) -> None:
    """Put an empty file or an empty read-only directory over ``path``, if it exists."""
    try:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", _QUIET | MS_RDONLY)
        else:
            mount("/dev/null", path, flags=MS_BIND)
    except SyscallError as error:
        if error.errno != errno.ENOENT:
            raise
