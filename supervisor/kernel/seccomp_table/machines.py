"""The architectures that there is a table for."""

import os
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.kernel.codes import UNSUPPORTED_ARCHITECTURE


class Machine(NamedTuple):
    """An architecture: its AUDIT_ARCH value (linux/audit.h) and its column in NUMBERS."""

    name: str
    audit_value: int
    column: int


X86_64 = Machine("x86_64", 0xC000003E, 0)
AARCH64 = Machine("aarch64", 0xC00000B7, 1)


def this_machine() -> Machine:
    """Return the architecture we run on; raises Refusal where there is no table for it."""
    name = os.uname().machine
    for machine in (X86_64, AARCH64):
        if machine.name == name:
            return machine
    raise Refusal(UNSUPPORTED_ARCHITECTURE, f"this machine is {name}")
