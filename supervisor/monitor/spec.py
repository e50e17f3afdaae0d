"""What to launch, as data: everything the child needs is decided before the fork."""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.kernel.namespaces import CLONE_NEWPID


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One resource limit: setrlimit(2)."""

    name: str  # as in the policy: "nofile"
    resource: int
    value: int  # soft and hard alike: what may be raised again is no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """Who the process becomes and what it can no longer do. The same for every launch."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    # False where the monitor already is the identity, holds no capability and joins no user
    # namespace: then there is nothing to give away, and everything is verified all the same.
    drop_privileges: bool
    # Descriptors of namespaces with their CLONE_NEW* type, joined in this order: user first.
    namespaces: tuple[tuple[int, int], ...] = ()
    limits: tuple[Limit, ...] = ()
    umask: int = 0o022
    landlock: int | None = None  # a ruleset's descriptor
    seccomp: bytes | None = None  # a BPF program

    @property
    def own_process_ids(self) -> bool:
        """Whether the process lives in a PID namespace of the workload."""
        return any(kind == CLONE_NEWPID for _, kind in self.namespaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One program to run in a confinement."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    confinement: Confinement
    monitor: int  # its pid: the parent the child must still have when it is confined
    stdio: tuple[int, int, int] = (0, 1, 2)
    terminal: bool = False  # stdio is a terminal that becomes the controlling one
    # What runs when everything is in place: the program; or, for the proof, a function of ours,
    # in the same process and under the same confinement. Its result is the exit status.
    instead: Callable[[], int] | None = None
    # Filled in by launch(): where the child reports, and where it waits to be adopted.
    handshake: tuple[int, int] = (-1, -1)
