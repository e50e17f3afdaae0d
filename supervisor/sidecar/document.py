"""What the agent's half is told beside the messages: the static policy, and variables. No secret."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from policy.model import Policy
from policy.wire import WireError, static_from_wire, to_wire
from supervisor.sidecar.frames import MAX_DOCUMENT

MAX_VARIABLES = 1024


class DocumentError(ValueError):
    """The bytes are no document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One generation."""

    policy: Policy  # its network half is empty: it is not the agent's to know
    environment: Mapping[str, str]


def document(policy: Policy, environment: Mapping[str, str]) -> bytes:
    """The bytes of a document; ``policy`` loses its network half and its findings."""
    static = replace(policy, network_policies=(), middlewares=(), findings=())
    content = {"policy": to_wire(static), "environment": dict(environment)}
    return json.dumps(content, sort_keys=True).encode()


def read_document(descriptor: int) -> Document:
    """Read and check a document from a memfd. Raises DocumentError."""
    size = os.fstat(descriptor).st_size
    if size > MAX_DOCUMENT:
        raise DocumentError(f"{size} bytes")
    return parse_document(os.pread(descriptor, size, 0))


def parse_document(data: bytes) -> Document:
    """The document of these bytes. Raises DocumentError."""
    try:
        match json.loads(data):
            case {"policy": wire, "environment": dict(variables), **rest} if not rest:
                policy = static_from_wire(wire)
            case _:
                raise DocumentError("not a policy and variables")
    except (WireError, ValueError, RecursionError) as error:
        raise DocumentError(str(error)) from error
    if len(variables) > MAX_VARIABLES or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in variables.items()
    ):
        raise DocumentError("variables that are none")
    return Document(policy=policy, environment=variables)
