"""What holds without a policy file, and what every workload may touch.

The closed policy allows no network and no files beyond the baseline, the work directory and /tmp.
The baseline is what a dynamically linked program needs to start and a shell to behave. It is added
to every policy: a path of it is left out where it does not exist in the container and where the
policy itself names it. Nothing of it is where secrets are mounted (/run, /var/run, /home, /root).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from policy.findings import Origin
from policy.model import Extensions, Filesystem, PathEntry, Policy, Process


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinePath:
    """A path that every workload gets where it exists; ``reason`` is printed by ``plan``."""

    path: str
    write: bool
    reason: str


_PROGRAMS = "programs and libraries of the image"
_DEVICE = "a device that programs take for granted"

BASELINE: Final = (
    BaselinePath(path="/usr", write=False, reason=_PROGRAMS),
    BaselinePath(path="/bin", write=False, reason=_PROGRAMS),
    BaselinePath(path="/sbin", write=False, reason=_PROGRAMS),
    BaselinePath(path="/lib", write=False, reason=_PROGRAMS),
    BaselinePath(path="/lib32", write=False, reason=_PROGRAMS),
    BaselinePath(path="/lib64", write=False, reason=_PROGRAMS),
    BaselinePath(path="/libx32", write=False, reason=_PROGRAMS),
    BaselinePath(path="/opt", write=False, reason="applications of the image"),
    BaselinePath(path="/app", write=False, reason="applications of the image"),
    BaselinePath(
        path="/etc", write=False, reason="configuration: resolver, accounts, certificates"
    ),
    BaselinePath(path="/proc", write=False, reason="runtimes read /proc/self and /proc/cpuinfo"),
    BaselinePath(path="/dev/null", write=True, reason=_DEVICE),
    BaselinePath(path="/dev/zero", write=True, reason=_DEVICE),
    BaselinePath(path="/dev/full", write=True, reason=_DEVICE),
    BaselinePath(path="/dev/random", write=False, reason=_DEVICE),
    BaselinePath(path="/dev/urandom", write=False, reason=_DEVICE),
    BaselinePath(path="/dev/tty", write=True, reason="the workload's own terminal"),
    BaselinePath(path="/dev/ptmx", write=True, reason="terminals that the workload makes"),
    BaselinePath(path="/dev/pts", write=True, reason="terminals that the workload makes"),
    BaselinePath(path="/dev/shm", write=True, reason="POSIX shared memory"),  # noqa: S108
)

CLOSED_FILE: Final = "<built-in>"
_NOWHERE: Final = Origin(file=CLOSED_FILE, line=0, column=0)


def closed_policy() -> Policy:
    """The policy that holds when none was asked for."""
    return Policy(
        file=CLOSED_FILE,
        version=1,
        filesystem=Filesystem(
            include_workdir=True,
            read_only=(),
            read_write=(PathEntry(path="/tmp", origin=_NOWHERE),),  # noqa: S108 - the workload's own
        ),
        landlock="hard_requirement",
        process=Process(run_as_user=None, run_as_group=None, origin=_NOWHERE),
        network_policies=(),
        middlewares=(),
        supervisor=Extensions(),
    )
