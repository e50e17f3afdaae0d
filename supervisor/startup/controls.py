"""Controls that this container cannot give: refused where the policy requires them. Pure.

The words are ``policy.words.CONTROLS``. Without a word from the policy the start goes on, and the
report says what is missing: a laptop's container has no memory limit, a user namespace no /proc.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from policy.model import Require
from supervisor.errors import Refusal
from supervisor.fence.request import FencedNamespace, Form
from supervisor.kernel import capabilities
from supervisor.startup import codes
from supervisor.startup.facts import Facts
from supervisor.startup.landlock_ruleset import FilesystemConfinement
from supervisor.startup.seclusion import TRUST_STORE, Seclusion
from supervisor.startup.trust_store import TrustStore


class Lack(NamedTuple):
    """A control of ``policy.words.CONTROLS`` that is not there, and why."""

    control: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """A control that this container cannot give, and who allowed the start to go on."""

    control: str
    cause: str
    allowed_by: str


def judge(
    lacks: Iterable[Lack], *, require: Require, accept: frozenset[str]
) -> tuple[Degraded, ...]:
    """What the start goes on without. Raises Refusal naming every required control that lacks."""
    found = tuple(lacks)
    missing = [f"{name}: {cause}" for name, cause in found if name in require.controls]
    if missing:
        raise Refusal(codes.CONTROL_REQUIRED, "; ".join(missing))
    return tuple(
        Degraded(
            control=name,
            cause=cause,
            allowed_by="supervisor.accept" if name in accept else "default",
        )
        for name, cause in found
    )


def lacking_in_container(facts: Facts) -> Iterator[Lack]:
    """What is known before anything is changed."""
    if facts.pids_max is None:
        yield Lack(
            "process-limit",
            "the container's cgroup has no pids.max, so a fork bomb reaches the whole machine",
        )
    if facts.memory_max is None:
        yield Lack("memory-limit", "the container's cgroup has no memory.max")


def lacking_after_preparation(
    facts: Facts,
    fence: FencedNamespace,
    seclusion: Seclusion,
    files: FilesystemConfinement,
    trust: TrustStore,
) -> Iterator[Lack]:
    """What the preparation could not make."""
    if not fence.held_elsewhere:
        yield from _lacking_in_fence(facts, fence)
    for control, cause in seclusion.lacking:
        if control != TRUST_STORE:  # which has another place to be
            yield Lack(control, cause)
    if trust.problem:
        yield Lack(TRUST_STORE, trust.problem)
    scopes = [loss.meaning for loss in files.losses if loss.control == "landlock-scopes"]
    if files.ruleset is None:
        scopes = ["files, sockets and signals are not confined"]
    if scopes:
        yield Lack("landlock-scopes", "; ".join(scopes))


def _lacking_in_fence(facts: Facts, fence: FencedNamespace) -> Iterator[Lack]:
    if "nflog" not in fence.sockets:
        yield Lack("blocked-attempts", f"the fence is {fence.report.form}: there are no rules")
    if "changes" not in fence.sockets:
        yield Lack("drift-detection", f"the fence is {fence.report.form}: there are no rules")
    traces = (
        facts.uid != 0 or fence.user is not None
        or capabilities.has(facts.status.effective, "SYS_PTRACE")
    )  # fmt: skip
    if "capture4" in fence.sockets and not traces:
        yield Lack("binary-identity", "without CAP_SYS_PTRACE executables cannot be looked at")


def check_minimum(require: Require, *, form: Form, landlock_abi: int) -> None:
    """Raise Refusal where the fence that was chosen or the kernel are below what the policy states.

    Any form but 'pod' is a namespace without a wire, also one that came with lo only.
    """
    if require.fence == "namespace" and form == "pod":
        raise Refusal(codes.FENCE_FORM, "the policy requires 'namespace', this start builds 'pod'")
    if require.landlock_abi is not None and landlock_abi < require.landlock_abi:
        cause = f"landlock_abi: {require.landlock_abi} is required, this kernel has {landlock_abi}"
        raise Refusal(codes.CONTROL_REQUIRED, cause)
