"""What may say who the workload is, and where each word of it came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.ids import quote

# What runs beside the workload, and as whom unless the command line says otherwise.
HELPER_IDS: Mapping[str, int] = {"egress": 64998, "access": 64999}


class Given(NamedTuple):
    """A text and the name of the input that gave it, for messages and for ``sources``."""

    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One origin's wish: user and group (a number or a name), supplementary groups (a list)."""

    uid: Given | None = None
    gid: Given | None = None
    groups: Given | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIds:
    """Who the supervisor is when it starts."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # the kernel's list; it may hold gid, too


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityInputs:
    """Everything that the decision looks at, besides the account files."""

    arguments: Request = field(default_factory=Request)
    environment: Request = field(default_factory=Request)
    image_user: Given | None = None  # user[:group]; an empty text: the image declares nobody
    run_as_user: str | None = None  # of the policy
    run_as_group: str | None = None
    process: ProcessIds = field(default_factory=lambda: ProcessIds(uid=0, gid=0, groups=()))
    helper_ids: Mapping[str, int] = field(default_factory=lambda: HELPER_IDS)


def inputs_from_environment(environment: Mapping[str, str]) -> IdentityInputs:
    """The inputs that the container's environment holds.

    The reference's names are aliases. Its drivers blank ``OPENSHELL_SANDBOX_UID`` and ``_GID``
    where they do not apply, so that these two count as absent when empty; an empty value of our own
    names is a mistake and refused later. Raises Refusal ``identity.conflict`` where a name and its
    alias differ.
    """
    return IdentityInputs(
        environment=Request(
            uid=_variable(environment, "SANDBOX_UID", "OPENSHELL_SANDBOX_UID", alias_blank=True),
            gid=_variable(environment, "SANDBOX_GID", "OPENSHELL_SANDBOX_GID", alias_blank=True),
            groups=_variable(environment, "SANDBOX_GROUPS", None),
        ),
        image_user=_variable(environment, "SANDBOX_IMAGE_USER", "OPENSHELL_OCI_IMAGE_USER"),
    )


def with_arguments(
    inputs: IdentityInputs,
    *,
    uid: str | None,
    gid: str | None,
    groups: str | None,
    process: ProcessIds,
) -> IdentityInputs:
    """The inputs, and what the command line says to the process that was started with it."""
    return replace(
        inputs,
        arguments=Request(
            uid=None if uid is None else Given(uid, "--uid"),
            gid=None if gid is None else Given(gid, "--gid"),
            groups=None if groups is None else Given(groups, "--groups"),
        ),
        process=process,
    )


def own_ids() -> ProcessIds:
    """Who this process is; raises Refusal ``identity.mixed-process-ids`` when its ids differ."""
    users, groups = set(os.getresuid()), set(os.getresgid())
    if len(users) > 1 or len(groups) > 1:
        raise Refusal(
            codes.MIXED_PROCESS_IDS,
            f"real, effective and saved ids are {os.getresuid()} and {os.getresgid()}",
        )
    return ProcessIds(uid=users.pop(), gid=groups.pop(), groups=tuple(sorted(os.getgroups())))


def _variable(
    environment: Mapping[str, str], name: str, alias: str | None, *, alias_blank: bool = False
) -> Given | None:
    ours = environment.get(name)
    theirs = None if alias is None else environment.get(alias)
    if theirs == "" and alias_blank:
        theirs = None
    if ours is not None and theirs is not None and ours != theirs:
        raise Refusal(codes.CONFLICT, f"{name} is {quote(ours)}, {alias} is {quote(theirs)}")
    if ours is not None:
        return Given(ours, name)
    return Given(theirs, alias) if theirs is not None and alias is not None else None
