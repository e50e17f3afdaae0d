"""What to prepare, as data: ``plan(request)`` touches nothing and runs without privilege.

Who gave the working directory decides what happens to it:

    default (/sandbox) or --workdir   created when missing, the directory itself made the identity's
    the image                         validated only, by a child that already is the identity
    (the image, but /sandbox)         as the default: /sandbox is ours by convention

    identity given by the driver      /sandbox is taken over recursively, if it exists
    policy read_write paths           created when missing; what exists keeps its owner

The working directory comes first, so that an unsafe one stops everything before a policy path is
created.
"""

import enum
from dataclasses import dataclass, field
from typing import assert_never

from supervisor.workspace.protected import (
    canonical,
    may_create,
    refuse_as_workspace,
    refuse_as_writable,
)

DEFAULT_WORKDIR = "/sandbox"

# A million files take about five seconds; ten minutes are a hundred million on a slow volume.
# Past that somebody must be told, and a container runtime would have given up on readiness.
DEFAULT_DEADLINE_S = 600.0


class GivenBy(enum.Enum):
    """Who named the working directory."""

    DEFAULT = "default"
    ARGUMENT = "--workdir"
    IMAGE = "image"


class Existing(enum.Enum):
    """What happens to a directory that is there already."""

    KEEP = "keep its owner"
    OWN = "make it the identity's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The workload's identity as far as files are concerned."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRequest:
    """All that planning looks at. ``capabilities`` are effective ones by name: ``CHOWN``."""

    owner: Owner
    supervisor_tree: str
    workdir: str = DEFAULT_WORKDIR
    workdir_given_by: GivenBy = GivenBy.DEFAULT
    read_write: tuple[str, ...] = ()
    identity_given_by_driver: bool = False
    capabilities: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureDirectory:
    """Create ``path`` for ``owner`` when missing, missing parents as root's with mode 0755.

    An existing workspace (OWN) must be a directory without a symlink on the way; an existing
    policy path (KEEP) may be of any kind.
    """

    path: str
    owner: Owner
    existing: Existing
    may_create: bool
    may_chown: bool
    supervisor_tree: str
    reason: str

    def describe(self) -> str:
        """One line for ``plan``."""
        missing = "create if missing" if self.may_create else "must exist"
        return f"directory {self.path}: {missing}; if there, {self.existing.value}; {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """Give all below ``path``, and itself, to ``owner``. Nothing there is nothing to do."""

    path: str
    owner: Owner
    may_chown: bool
    reason: str

    def describe(self) -> str:
        """One line for ``plan``."""
        return f"take over {self.path} for {self.owner.uid}:{self.owner.gid}; {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateAsIdentity:
    """Let a child that is ``owner`` walk to ``path`` and write there; change nothing."""

    path: str
    owner: Owner
    reason: str

    def describe(self) -> str:
        """One line for ``plan``."""
        return f"validate {self.path} as {self.owner.uid}:{self.owner.gid}; {self.reason}"


Step = EnsureDirectory | TakeOver | ValidateAsIdentity


def plan(request: WorkspaceRequest) -> tuple[Step, ...]:
    """Return the steps in the order in which they are done.

    Raises Refusal for a path that is not canonical or that is protected.
    """
    may_chown = "CHOWN" in request.capabilities
    steps: list[Step] = [_workdir_step(request, may_chown=may_chown)]
    if request.identity_given_by_driver:
        reason = "the driver chose the identity, so files of an earlier one may lie there"
        steps.append(
            TakeOver(path=DEFAULT_WORKDIR, owner=request.owner, may_chown=may_chown, reason=reason)
        )
    steps += [
        _policy_step(path, request, may_chown=may_chown)
        for path in dict.fromkeys(map(canonical, request.read_write))
        if path != steps[0].path
    ]
    return tuple(steps)


def _workdir_step(request: WorkspaceRequest, *, may_chown: bool) -> Step:
    path = canonical(request.workdir)
    refuse_as_workspace(path, request.supervisor_tree)
    match request.workdir_given_by:
        case GivenBy.IMAGE if path != DEFAULT_WORKDIR:
            reason = "the image names it as its working directory"
            return ValidateAsIdentity(path=path, owner=request.owner, reason=reason)
        case GivenBy.DEFAULT | GivenBy.ARGUMENT | GivenBy.IMAGE as given_by:
            return EnsureDirectory(
                path=path,
                owner=request.owner,
                existing=Existing.OWN,
                may_create=True,
                may_chown=may_chown,
                supervisor_tree=request.supervisor_tree,
                reason=f"workspace, named by: {given_by.value}",
            )
        case unreachable:
            assert_never(unreachable)


def _policy_step(path: str, request: WorkspaceRequest, *, may_chown: bool) -> Step:
    refuse_as_writable(path, request.supervisor_tree)
    return EnsureDirectory(
        path=path,
        owner=request.owner,
        existing=Existing.KEEP,
        may_create=may_create(path),
        may_chown=may_chown,
        supervisor_tree=request.supervisor_tree,
        reason="the policy lets the workload write there",
    )
