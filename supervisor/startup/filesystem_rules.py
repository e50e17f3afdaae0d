"""From the policy's paths to Landlock rules: pure, nothing is opened here.

``read_only`` is execute, read and list; ``read_write`` is every right but making device nodes.
A path that the policy names is taken as the policy says, also where the baseline names it too.

What ``hard_requirement`` means: everything that the two lists promise is enforced, or the start
is refused. That needs ABI 3, since before it a read-only file could be truncated. What later ABIs
add to the promise (device ioctls, scopes) is listed as lost where the kernel has it not; a policy
can require a minimum ABI. ``best_effort`` starts anyway, and lists everything it lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from supervisor.errors import Refusal
from supervisor.kernel import landlock
from supervisor.startup.filesystem_codes import (
    LANDLOCK_MISSING,
    PATHS_OVERLAP,
    WORKDIR_UNSUITABLE,
)

Compatibility = Literal["hard_requirement", "best_effort"]
Source = Literal["policy", "workdir", "baseline"]

READ = landlock.EXECUTE | landlock.READ_FILE | landlock.READ_DIR
# Device nodes need a capability that no workload has.
READ_WRITE = landlock.bits(landlock.FILESYSTEM, landlock.KNOWN_ABI) & ~(
    landlock.MAKE_CHAR | landlock.MAKE_BLOCK
)
# Browsers write /proc/self/uid_map to enter their own user namespace, and a rule on /proc/self
# would bind to one process. Writing is all they get: nothing can be created in /proc.
READ_AND_WRITE_FILES = READ | landlock.WRITE_FILE

PROMISED_ABI = 3  # truncate


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """One path, the Landlock rights on and beneath it, who asked for it, and why."""

    path: str
    rights: int
    source: Source
    reason: str

    @property
    def writable(self) -> bool:
        """Whether the workload may change what is there."""
        return self.rights == READ_WRITE


class BaselinePath(NamedTuple):
    """A path that every workload gets where it exists."""

    path: str
    write: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is weaker than it could be: a name, what it means, and by whose permission.

    ``control`` is the word by which a policy requires or accepts it (policy.words), where it has one.
    """

    name: str
    meaning: str
    permitted_by: str
    control: str = ""


_LATER = {
    "ioctl_dev": "devices that the policy makes readable can be given any device request",
    "abstract_unix_socket": "abstract unix sockets of other processes can be connected to",
    "signal": "processes of the same uid outside the sandbox can be sent signals",
}
_KERNEL = "the kernel has no such right; the policy requires no ABI"


def path_rules(
    *,
    read_only: Iterable[str],
    read_write: Iterable[str],
    workdir: str | None,
    baseline: Iterable[BaselinePath],
    nested_sandbox: bool = False,
) -> tuple[PathRule, ...]:
    """Merge policy, work directory (None: not included) and baseline; paths are normalised.

    Raises Refusal where one path lies read-only inside a writable one, and where the work
    directory is one that must never be writable.
    """
    rules = {path: _of_policy(path, READ) for path in read_only}
    rules |= {path: _of_policy(path, READ_WRITE) for path in read_write}
    if workdir is not None and not (workdir in rules and rules[workdir].writable):
        _check_workdir(workdir)
        check_overlap(workdir, (rule.path for rule in rules.values() if not rule.writable))
        rules[workdir] = PathRule(
            path=workdir, rights=READ_WRITE, source="workdir", reason="the work directory"
        )
    for path, write, reason in baseline:
        rights = READ_WRITE if write else READ
        if nested_sandbox and path == "/proc":
            rights = READ_AND_WRITE_FILES
        rule = PathRule(path=path, rights=rights, source="baseline", reason=reason)
        rules.setdefault(path, rule)
    check_overlaps(tuple((rule.path, rule) for rule in rules.values()))
    return tuple(rules[path] for path in sorted(rules))


def _of_policy(path: str, rights: int) -> PathRule:
    section = "read_write" if rights == READ_WRITE else "read_only"
    reason = f"filesystem_policy.{section}"
    return PathRule(path=path, rights=rights, source="policy", reason=reason)


def _check_workdir(workdir: str) -> None:
    if workdir == "/" or inside(workdir, "/proc"):
        raise Refusal(WORKDIR_UNSUITABLE, f"the work directory is {workdir}")


def check_overlap(writable: str, read_only: Iterable[str]) -> None:
    """Raise Refusal if one of the read-only paths is inside the writable one."""
    for path in read_only:
        if inside(path, writable):
            raise Refusal(PATHS_OVERLAP, f"{path} is read-only inside {writable}, which is not")


def check_overlaps(located: tuple[tuple[str, PathRule], ...]) -> None:
    """Check every rule at the place where it really is: (path without symlinks, rule).

    The baseline's read-only paths promise nothing: a policy may make /usr/local writable.
    """
    closed = [where for where, rule in located if not rule.writable and rule.source == "policy"]
    for where, rule in located:
        if rule.writable:
            check_overlap(where, closed)


def inside(path: str, outer: str) -> bool:
    """Whether ``path`` is ``outer`` or below it; both are normalised."""
    return path == outer or path.startswith(outer.rstrip("/") + "/")


def losses(version: int, compatibility: Compatibility, unavailable: str) -> tuple[Loss, ...]:
    """Return what ABI ``version`` (0: no Landlock, because of ``unavailable``) cannot enforce.

    Raises Refusal where the policy does not permit that.
    """
    if version < PROMISED_ABI and compatibility == "hard_requirement":
        have = f"Landlock ABI {version}" if version else f"no Landlock ({unavailable})"
        raise Refusal(LANDLOCK_MISSING, f"the kernel has {have}; ABI {PROMISED_ABI} is needed")
    permission = "landlock.compatibility: best_effort"
    if version == 0:
        meaning = f"files are not confined at all: {unavailable}"
        return (Loss(name="landlock", meaning=meaning, permitted_by=permission),)
    found = []
    if version < PROMISED_ABI:
        meaning = "files that are read-only can be emptied"
        found.append(Loss(name="truncate", meaning=meaning, permitted_by=permission))
    found += [
        Loss(
            name=right.name,
            meaning=_LATER[right.name],
            permitted_by=_KERNEL,
            control="landlock-scopes" if right in landlock.SCOPES else "",
        )
        for right in (*landlock.FILESYSTEM, *landlock.SCOPES)
        if right.abi > version and right.name in _LATER
    ]
    return tuple(found)
