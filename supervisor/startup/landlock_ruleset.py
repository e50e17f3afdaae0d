"""Open the paths of the rules, once, and put them into one ruleset for every later launch.

What a path means is settled here, before the workload runs: the ruleset holds on to the files, so
whatever a name leads to later gains nothing. Nothing is decided here but what to do about a path
that cannot be opened, which follows from the level that the policy chose.
"""

import errno
import os
from dataclasses import dataclass

from supervisor.errors import Refusal
from supervisor.kernel import landlock
from supervisor.startup.filesystem_codes import PATHS_UNUSABLE
from supervisor.startup.filesystem_rules import (
    Compatibility,
    Loss,
    PathRule,
    check_overlaps,
    losses,
)
from supervisor.startup.trusted_path import Located, UntrustedLinkError, open_trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOutcome:
    """What became of a rule: the place it binds to and the rights granted there, or why not.

    ``rights`` are Landlock's names; they are empty, and ``problem`` says why, where there is no rule.
    """

    rule: PathRule
    resolved: str = ""
    links: tuple[tuple[str, str], ...] = ()
    rights: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemConfinement:
    """The files as the workload will have them. ``ruleset`` is None only without any Landlock."""

    ruleset: int | None
    abi: int
    newer_kernel_abi: bool
    paths: tuple[PathOutcome, ...]
    losses: tuple[Loss, ...]


def prepare(
    rules: tuple[PathRule, ...],
    *,
    compatibility: Compatibility,
    groups: frozenset[int],
    as_workload: bool,
    root: int | None = None,
) -> FilesystemConfinement:
    """Open every path and build the ruleset. The caller keeps ``ruleset`` for all launches.

    ``groups``: the workload's, primary included. ``as_workload``: we already have its identity, so
    what we cannot reach it cannot either, and no rule is needed. ``root``: a descriptor of the root
    directory as the workload will see it, where that is not ours. Raises Refusal with every path
    that cannot be used, and SyscallError.
    """
    version = landlock.abi()
    lost = losses(version, compatibility, landlock.why_unavailable())
    if version == 0:
        return FilesystemConfinement(
            ruleset=None, abi=0, newer_kernel_abi=False, paths=(), losses=lost
        )
    opened = [_open(rule, groups, root) for rule in rules]
    try:
        lost += _judge(opened, compatibility, as_workload=as_workload)
        found = [(rule, where) for rule, where in opened if isinstance(where, Located)]
        check_overlaps(tuple((where.path, rule) for rule, where in found))
        ruleset = landlock.create(version)
        outcomes = tuple(_allow(ruleset, rule, where) for rule, where in opened)
    finally:
        for _, where in opened:
            if isinstance(where, Located):
                os.close(where.descriptor)
    return FilesystemConfinement(
        ruleset=ruleset.descriptor,
        abi=ruleset.version,
        newer_kernel_abi=version > landlock.KNOWN_ABI,
        paths=outcomes,
        losses=lost,
    )


def _open(
    rule: PathRule, groups: frozenset[int], root: int | None
) -> tuple[PathRule, Located | OSError]:
    try:
        return rule, open_trusted(rule.path, groups, root)
    except OSError as error:
        return rule, error


def _judge(
    opened: list[tuple[PathRule, Located | OSError]],
    compatibility: Compatibility,
    *,
    as_workload: bool,
) -> tuple[Loss, ...]:
    """Return the paths that the policy permits to be lost; raise Refusal for the others."""
    unusable = [
        f"{rule.path} ({rule.reason}): {describe(failure)}"
        for rule, failure in opened
        if isinstance(failure, OSError)
        and rule.source != "baseline"
        and not (as_workload and failure.errno == errno.EACCES)
    ]
    if unusable and compatibility == "hard_requirement":
        raise Refusal(PATHS_UNUSABLE, "; ".join(unusable))
    permission = "landlock.compatibility: best_effort"
    return tuple(Loss(name="path", meaning=text, permitted_by=permission) for text in unusable)


def describe(failure: OSError) -> str:
    """Return why a path could not be opened, in words; each cause has its own."""
    if isinstance(failure, UntrustedLinkError):
        return f"the symlink {failure.filename} is {failure.strerror}"
    at = f" at {failure.filename}" if failure.filename else ""
    match failure.errno:
        case errno.ENOENT:
            return f"does not exist{at}"
        case errno.EACCES:
            return f"may not be reached by this process{at}"
        case errno.ELOOP:
            return f"too many symlinks{at}"
        case errno.ENAMETOOLONG:
            return f"a name is too long{at}"
        case errno.ENOTDIR:
            return f"not a directory on the way{at}"
        case _:
            return f"{failure.strerror}{at}"


def _allow(ruleset: landlock.Ruleset, rule: PathRule, where: Located | OSError) -> PathOutcome:
    if isinstance(where, OSError):
        return PathOutcome(rule=rule, problem=describe(where))
    granted = ruleset.allow(where.descriptor, rule.rights)
    return PathOutcome(
        rule=rule,
        resolved=where.path,
        links=where.links,
        rights=landlock.names(landlock.FILESYSTEM, granted),
    )
