"""What is true of this process and this container, read once, before anything is decided."""

import errno
import os
from dataclasses import dataclass

from supervisor.kernel import capabilities, landlock, procfs
from supervisor.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, may_unshare

MEMORY_MAX_PATHS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
# cgroup v1 says "no limit" with a number near 2^63, rounded to pages.
NO_MEMORY_LIMIT = 1 << 62
PIDS_MAX_PATHS = ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")
TERMINATION_LOG = "/dev/termination-log"
# What an engine or orchestrator leaves in its containers.
SIGNS = {
    "podman": "/run/.containerenv",
    "docker": "/.dockerenv",
    "kubernetes": "/var/run/secrets/kubernetes.io",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the plan may look at; plain values, so that a test can state any machine."""

    pid: int
    ppid: int
    in_cgroup_of_pid1: bool
    status: procfs.Status
    kernel: str
    surroundings: tuple[str, ...]  # engines that left a sign; the image can fake one
    landlock_abi: int  # 0: not available
    pids_max: int | None  # None: unlimited or unknown
    memory_max: int | None  # bytes; None: unlimited or unknown
    interfaces: tuple[str, ...]  # of the network namespace we are in
    may_make_namespace: bool  # a network namespace, alone or through a user namespace
    etc_writable: bool
    termination_log: bool
    stdin_is_terminal: bool
    nofile_hard: int

    @property
    def uid(self) -> int:
        """The effective uid."""
        return self.status.uids[1]

    @property
    def may_fence_pod(self) -> bool:
        """Rules around the network namespace that we are in can be made."""
        return self.uid == 0 and capabilities.has(self.status.effective, "NET_ADMIN")

    @property
    def is_main_process(self) -> bool:
        """True if our end is the container's: the runtime then kills what is left in it.

        PID 1; or, where a pod shares one PID namespace, a process whose parent is outside of it
        and that does not merely enter a container beside its PID 1 (podman exec).
        """
        return self.pid == 1 or (self.ppid == 0 and not self.in_cgroup_of_pid1)


def gather() -> Facts:
    """Read the facts. Touches nothing; raises OSError only where /proc is missing."""
    import resource

    return Facts(
        pid=os.getpid(),
        ppid=os.getppid(),
        in_cgroup_of_pid1=procfs.read_small("/proc/1/cgroup")
        == procfs.read_small("/proc/self/cgroup"),
        status=procfs.read_status(),
        kernel=os.uname().release,
        surroundings=tuple(name for name, path in SIGNS.items() if os.path.exists(path)),
        landlock_abi=_landlock_abi(),
        pids_max=_limit(PIDS_MAX_PATHS),
        memory_max=_below_ceiling(_limit(MEMORY_MAX_PATHS)),
        interfaces=_interfaces(),
        may_make_namespace=may_unshare(CLONE_NEWNET) or may_unshare(CLONE_NEWUSER | CLONE_NEWNET),
        etc_writable=_writable("/etc"),
        termination_log=os.path.exists(TERMINATION_LOG),
        stdin_is_terminal=os.isatty(0),
        nofile_hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    )


def _landlock_abi() -> int:
    try:
        return landlock.abi()
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0  # not built, not enabled, or refused by the engine's filter
        raise


def _limit(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        try:
            return parse_limit(procfs.read_small(path).decode("ascii", "replace"))
        except OSError:
            continue  # the other cgroup version's path
    return None


def _below_ceiling(limit: int | None) -> int | None:
    return None if limit is None or limit >= NO_MEMORY_LIMIT else limit


def parse_limit(text: str) -> int | None:
    """``pids.max`` or ``memory.max`` of cgroup(7): a number, or None for "max" and for anything else."""
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() else None


def _interfaces() -> tuple[str, ...]:
    # /proc/net/dev and not /sys/class/net: the latter shows the namespace sysfs was mounted in.
    lines = procfs.read_small("/proc/net/dev").decode("ascii", "replace").splitlines()[2:]
    return tuple(sorted(line.split(":")[0].strip() for line in lines if ":" in line))


def _writable(path: str) -> bool:
    try:
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        return False
    return not read_only and os.access(path, os.W_OK)
