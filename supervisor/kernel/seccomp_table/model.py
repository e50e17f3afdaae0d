"""The vocabulary of the rules: what a system call is answered with, and on which arguments.

A decision is a tree: an action, or a look at one argument that leads to further decisions.
Arguments are compared by their low 32 bits only. For ``int`` arguments that is what the kernel
uses, and a 64-bit comparison is bypassed by setting a high bit (measured: ``AF_NETLINK | 1 << 32``).
For the few ``long`` arguments named in the rules every bit of interest is a low one.
"""

from typing import NamedTuple, TypeAlias

# Values of linux/seccomp.h. The low 16 bits of an errno action are the errno.
KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

ALL_BITS = 0xFFFFFFFF


def refuse(number: int) -> int:
    """Return the action that fails the call with errno ``number`` (seccomp(2), SECCOMP_RET_ERRNO)."""
    return _ERRNO | number


class Case(NamedTuple):
    """One way out of a Switch: any of ``values`` leads to ``then``."""

    values: tuple[int, ...]
    then: "Decision"


class Switch(NamedTuple):
    """Compare argument number ``argument`` (0…5), cut to ``mask``, with the values of the cases."""

    argument: int
    cases: tuple[Case, ...]
    otherwise: "Decision"
    mask: int = ALL_BITS


class AnyBit(NamedTuple):
    """Whether argument number ``argument`` (0…5) has any of ``bits`` set."""

    argument: int
    bits: int
    then: "Decision"
    otherwise: "Decision"


Decision: TypeAlias = int | Switch | AnyBit


class Rule(NamedTuple):
    """System calls (names separated by spaces), how they are decided, and why."""

    names: str
    decision: Decision
    reason: str
