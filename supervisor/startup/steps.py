"""What a start does, as data: each step says what it will do and why before it is done."""

from dataclasses import dataclass

from policy.model import Require
from supervisor.fence.request import PodRequest, Served
from supervisor.identity.entries import EntryPlan
from supervisor.kernel.filters import Toggles
from supervisor.monitor.spec import Limit
from supervisor.startup.filesystem_rules import Compatibility, PathRule
from supervisor.workspace.plan import Step as WorkspaceStep


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAccount:
    """Write missing account entries into the container's /etc."""

    entries: EntryPlan

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        written = [f"add an entry to /etc/{addition.name}" for addition in self.entries.additions]
        return written + [f"account files: {note}" for note in self.entries.notes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareWorkspace:
    """Make files and directories usable for the identity."""

    steps: tuple[WorkspaceStep, ...]

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        return [step.describe() for step in self.steps]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseNetwork:
    """Put the workload behind a fence through which nothing leads out, but to egress if served.

    ``pod`` is a request where the workload stays in the network namespace that we are in.
    """

    served: Served | None
    pod: PodRequest | None
    reason: str

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        if self.pod is not None:
            caught = "rules in our own namespace; the workload's TCP and DNS go to egress"
            return [f"network: {caught}, all else is refused; {self.reason}"]
        if self.served is not None:
            caught = "own namespace with lo only; TCP and DNS go to egress, all else is refused"
            return [f"network: {caught}; {self.reason}"]
        return [
            f"network: own namespace with no interface but lo, all traffic out refused; {self.reason}"
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyOnSidecar:
    """The pod's network namespace is fenced already, and the sidecar serves it; the proof tells."""

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        return ["network: the pod's, as net-init closed it and the sidecar serves it; proved below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seclude:
    """Give the workload its own processes and mounts, as far as the container allows them.

    Among them the trust store: the image's certificates, and ``authorities`` (PEM) behind them.
    """

    authorities: bytes
    writable: tuple[str, ...]  # what the workload may change
    groups: frozenset[int]

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        ours = "those of --extra-ca behind them, offered" if self.authorities else "not offered yet"
        return [
            "processes: own PID namespace with a fresh /proc, and an own /dev/shm, if possible",
            f"trust store: the image's certificates where nobody can change them, {ours}",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckControls:
    """Refuse where less could be had than the policy requires."""

    require: Require
    accept: frozenset[str]

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        required = ", ".join(sorted(self.require.controls)) or "no control by name"
        return [f"check: what could not be had against the policy, which requires {required}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfineFiles:
    """Open the paths the workload may reach and build the ruleset of every launch."""

    rules: tuple[PathRule, ...]
    compatibility: Compatibility
    groups: frozenset[int]
    as_workload: bool  # this process already is the identity

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        return [
            f"files: {'read-write' if rule.writable else 'read-only'} {rule.path}; {rule.reason}"
            for rule in self.rules
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorkload:
    """Fork, drop, verify, exec."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    limits: tuple[Limit, ...]
    umask: int
    toggles: Toggles
    terminal: bool

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        from supervisor.monitor.steps import STEPS

        groups = ",".join(map(str, self.groups)) or "none"
        limits = ", ".join(f"{limit.name} {limit.value}" for limit in self.limits)
        who = f"{self.uid}:{self.gid}, groups {groups}, limits {limits}, umask {self.umask:04o}"
        order = " → ".join(step.name for step in STEPS)
        return [f"run {self.argv[0]} in {self.cwd} as {who}", f"after: {order}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prove:
    """Try the forbidden and the allowed in exactly the workload's confinement."""

    start: StartWorkload

    def describe(self) -> list[str]:
        """Lines for ``plan``."""
        return [
            "prove: a child in the workload's confinement tries what is forbidden; it must fail"
        ]


Step = (
    AddAccount
    | PrepareWorkspace
    | CloseNetwork
    | RelyOnSidecar
    | Seclude
    | ConfineFiles
    | CheckControls
    | Prove
    | StartWorkload
)
