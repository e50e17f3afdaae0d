"""Which policy holds: the file that argv names, or the built-in closed one."""

import dataclasses
import json
import stat
from typing import NamedTuple

from policy.builtin import closed_policy
from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.settings import RunSettings
from supervisor.startup import codes
from supervisor.startup.forked import NoAnswer, ask_child
from supervisor.startup.policy_file import read_policy

SHOWN_FINDINGS = 5  # the rest is one 'policy check' away


class LoadedPolicy(NamedTuple):
    """The static half, read and checked; and the whole as egress will read it.

    ``whole`` is JSON: policy.wire under "policy", the files behind listed links under "links".
    ``notes`` are links that were not followed, and why.
    """

    static: Policy
    allows_network: bool
    whole: bytes
    notes: tuple[str, ...] = ()


def obtain_policy(settings: RunSettings, *, sees_programs: bool = True) -> LoadedPolicy:
    """The policy that holds.

    An absent policy is the closed one; one that was asked for and is missing, empty or bad stops
    the start. YAML is parsed by an unprivileged child; what it answers is checked again.
    ``sees_programs``: our root is the workload's, so listed programs that are links can be followed.
    """
    if settings.policy is None:
        from policy.wire import to_wire

        closed = closed_policy()
        return LoadedPolicy(closed, allows_network=False, whole=_whole(to_wire(closed), {}))
    path = settings.policy
    text = read_policy(path, from_image=settings.policy_from_image)
    try:
        answer = ask_child(lambda: load_to_wire(text, path, sees_programs=sees_programs))
    except NoAnswer as error:
        raise Refusal(codes.POLICY_LOADER, f"{path}: {error}") from error
    return accept(answer, path)


def load_to_wire(text: bytes, path: str, *, sees_programs: bool) -> bytes:
    """In the unprivileged child: the policy, its findings, or why it has no code to read it with."""
    try:
        from policy.findings import PolicyError
        from policy.load import load
        from policy.wire import to_wire
        from supervisor.startup.binary_links import BinaryLinks, binary_links
    except ImportError as error:
        return json.dumps({"unreadable": str(error)}).encode()

    try:
        loaded = load(text, file=path)
    except PolicyError as error:
        return json.dumps({"findings": [str(finding) for finding in error.findings]}).encode()
    links = binary_links(loaded) if sees_programs else BinaryLinks({}, ())
    answer = {"policy": to_wire(loaded), "links": links.followed, "left": links.left}
    return json.dumps(answer).encode()


def accept(answer: bytes, path: str) -> LoadedPolicy:
    """What the child answered, checked. Raises Refusal."""
    from policy.wire import WireError, static_from_wire

    try:
        document = json.loads(answer)
    except ValueError as error:
        raise Refusal(codes.POLICY_LOADER, f"{path}: {error}") from error
    match document:
        case {"policy": wire, "links": {**links}, "left": [*left]} if _are_texts(links, left):
            try:
                static = static_from_wire(wire)
            except WireError as error:
                raise Refusal(codes.POLICY_LOADER, f"{path}: {error}") from error
            return LoadedPolicy(
                static,
                allows_network=allows_network(wire),
                whole=_whole(wire, links),
                notes=tuple(f"not followed: {text}" for text in left),
            )
        case {"findings": [*findings]}:
            raise Refusal(codes.POLICY_INVALID, _shown([str(finding) for finding in findings]))
        case {"failed": str(cause)}:
            raise Refusal(codes.POLICY_LOADER, f"{path}: {cause}")
        case {"unreadable": str(cause)}:
            raise Refusal(codes.TREE_UNREADABLE, f"{cause}: {_closed_directories()}")
        case _:
            raise Refusal(codes.POLICY_LOADER, f"{path}: the loader's answer has no known form")


def _whole(wire: object, links: object) -> bytes:
    return json.dumps({"policy": wire, "links": links}).encode()


def _are_texts(links: dict[object, object], left: list[object]) -> bool:
    return all(isinstance(text, str) for text in (*links, *links.values(), *left))


def allows_network(wire: list[object]) -> bool:
    """Does a policy in wire form have an entry under ``network_policies``?"""
    names = [field.name for field in dataclasses.fields(Policy)]
    return bool(wire[1 + names.index("network_policies")])


def _closed_directories() -> str:
    """Which directories on the way to our own code nobody else may enter and list."""
    from pathlib import Path

    closed = [
        f"{directory} has mode {mode:o}"
        for directory in Path(__file__).parents
        if (mode := stat.S_IMODE(directory.stat().st_mode)) & 0o005 != 0o005
    ]
    return ", ".join(closed) or f"every directory above {__file__} is open to others"


def _shown(findings: list[str]) -> str:
    more = len(findings) - SHOWN_FINDINGS
    return "; ".join(findings[:SHOWN_FINDINGS] + ([f"and {more} more"] if more > 0 else []))
