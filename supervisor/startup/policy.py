"""Which policy holds: the file that argv names, or the built-in closed one."""

import json

from policy.builtin import closed_policy
from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.settings import RunSettings
from supervisor.startup import codes
from supervisor.startup.forked import NoAnswer, ask_child
from supervisor.startup.policy_file import read_policy

SHOWN_FINDINGS = 5  # the rest is one 'policy check' away


def obtain_policy(settings: RunSettings) -> Policy:
    """The static half of the policy that holds (the network half is egress' business).

    An absent policy is the closed one; one that was asked for and is missing, empty or bad stops
    the start. YAML is parsed by an unprivileged child; what it answers is checked again.
    """
    if settings.policy is None:
        return closed_policy()
    path = settings.policy
    text = read_policy(path, from_image=settings.policy_from_image)
    try:
        answer = json.loads(ask_child(lambda: _load(text, path)))
    except (NoAnswer, ValueError) as error:
        raise Refusal(codes.POLICY_LOADER, f"{path}: {error}") from error
    return _accept(answer, path)


def _load(text: bytes, path: str) -> bytes:
    from policy.findings import PolicyError
    from policy.load import load
    from policy.wire import to_wire

    try:
        answer = {"policy": to_wire(load(text, file=path))}
    except PolicyError as error:
        answer = {"findings": [str(finding) for finding in error.findings]}
    return json.dumps(answer).encode()


def _accept(answer: object, path: str) -> Policy:
    from policy.wire import WireError, static_from_wire

    match answer:
        case {"policy": wire}:
            try:
                return static_from_wire(wire)
            except WireError as error:
                raise Refusal(codes.POLICY_LOADER, f"{path}: {error}") from error
        case {"findings": [*findings]}:
            more = len(findings) - SHOWN_FINDINGS
            shown = [str(finding) for finding in findings[:SHOWN_FINDINGS]]
            tail = [f"and {more} more"] if more > 0 else []
            raise Refusal(codes.POLICY_INVALID, "; ".join([*shown, *tail]))
        case _:
            raise Refusal(codes.POLICY_LOADER, f"{path}: the loader's answer has no known form")
