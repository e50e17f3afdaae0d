"""What to launch, as data: everything the child needs is decided before the fork."""

from dataclasses import dataclass


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
