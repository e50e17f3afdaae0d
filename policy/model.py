"""The policy as values: frozen, parsed, each part with its place in the file.

Here stands what holds from the start of the workload to its end, and the Policy itself; the network
half is in policy.network. The monitor imports this module, so it imports neither that, nor YAML, nor
pydantic. Equality ignores origins: two files that say the same are equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from policy.findings import Finding, Origin
    from policy.network import Middleware, NetworkPolicy

Compatibility = Literal["hard_requirement", "best_effort"]
FenceForm = Literal["namespace", "pod"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEntry:
    """One absolute path of ``filesystem_policy``, normalised (no ``//``, no trailing slash)."""

    path: str
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """``filesystem_policy``: everything that is not listed is not accessible."""

    include_workdir: bool
    read_only: tuple[PathEntry, ...]
    read_write: tuple[PathEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """``process``: ``sandbox``, a number 1…4294967294 in canonical decimal, or None (unstated)."""

    run_as_user: str | None
    run_as_group: str | None
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``supervisor.limits``: rlimits of the workload; None leaves the container's own.

    ``nofile`` counts descriptors, ``fsize`` is in bytes, ``nproc`` counts processes of the uid in
    its user namespace. ``core`` is always 0 and cannot be stated.
    """

    nofile: int | None = None
    fsize: int | None = None
    nproc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Syscalls:
    """``supervisor.syscalls``: doors of the seccomp filter that a policy may open."""

    nested_sandbox: bool = False
    debugger: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """``supervisor.require``: below this the start refuses. ``controls`` are words.CONTROLS."""

    fence: FenceForm | None = None
    landlock_abi: int | None = None
    controls: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """``supervisor``: what the reference's policy has no words for.

    ``accept`` names controls and features (words.CONTROLS, words.FEATURES) whose absence does not
    stop the start. ``loopback`` None: every loopback port is open to the workload; else only
    these. ``presets`` are the names that were written; their entries are among the policy's
    ``network_policies``.
    """

    require: Require = field(default_factory=Require)
    accept: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    syscalls: Syscalls = field(default_factory=Syscalls)
    loopback: tuple[int, ...] | None = None
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy. ``findings`` are what the loader remarked without refusing."""

    file: str
    version: Literal[1]
    filesystem: Filesystem
    landlock: Compatibility
    process: Process
    network_policies: tuple[NetworkPolicy, ...]
    middlewares: tuple[Middleware, ...]
    supervisor: Extensions
    findings: tuple[Finding, ...] = field(compare=False, default=())

    @property
    def not_enforced(self) -> tuple[Finding, ...]:
        """What the policy relies on and nothing enforces, minus what it accepts itself.

        ``run`` refuses a policy where this is not empty.
        """
        return tuple(
            finding
            for finding in self.findings
            if finding.severity == "not-enforced"
            and finding.code.rpartition(".")[2] not in self.supervisor.accept
        )
