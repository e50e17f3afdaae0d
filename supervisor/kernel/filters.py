"""From rules to programs: the seccomp filters of the workload and of our own processes.

    workload   base table, opened by the policy's toggles, narrowed where we share its uid
    monitor    what launch needs on top: it is inherited by everything launched
    egress     descriptors, sockets, threads; no program is ever started
    access     the same, and its side of the terminals
    watcher    two sockets that are open already
    responder  connections that are handed to it
    init       waiting, and ending

Order of decision in every program: a foreign architecture (the process is killed), then a binary
search over the known numbers. Numbers that no rule names are answered ENOSYS, between the known
ones and beyond: x32 calls, which come with x86_64's architecture and bit 30 set, are among these.
"""

import errno
from typing import NamedTuple

from supervisor.kernel.bpf import (
    ARCHITECTURE_OFFSET,
    JUMP_ANY_BIT,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    NUMBER_OFFSET,
    Branch,
    Node,
    Word,
    argument_offset,
    assemble,
)
from supervisor.kernel.seccomp_table import roles, toggles
from supervisor.kernel.seccomp_table.machines import Machine, this_machine
from supervisor.kernel.seccomp_table.model import (
    KILL_PROCESS,
    AnyBit,
    Decision,
    Rule,
    refuse,
)
from supervisor.kernel.seccomp_table.numbers import NUMBERS
from supervisor.kernel.seccomp_table.workload import BASE

ENOSYS = refuse(errno.ENOSYS)
EPERM = refuse(errno.EPERM)

_NUMBER = Word(NUMBER_OFFSET)
_ARCHITECTURE = Word(ARCHITECTURE_OFFSET)


class Toggles(NamedTuple):
    """What a policy opens: sandboxes inside the sandbox (browsers), debuggers."""

    nested_sandbox: bool = False
    debugger: bool = False


def workload(
    toggle: Toggles, *, guarded: tuple[int, ...] = (), machine: Machine | None = None
) -> bytes:
    """Return the workload's program, an array of struct sock_filter.

    ``guarded``: our process and group ids, where the workload shares our uid and PID namespace.
    ``machine``: by default this one; raises Refusal where there is no table for it.
    """
    return program(workload_rules(toggle, guarded), machine)


def monitor(toggle: Toggles, *, machine: Machine | None = None) -> bytes:
    """Return the monitor's program: whatever a workload with these toggles may do, and launch."""
    return program(monitor_rules(toggle), machine)


def egress(*, machine: Machine | None = None) -> bytes:
    """Return the program that egress puts on itself before it reads a foreign byte."""
    return program(only(roles.EGRESS), machine)


def watcher(*, machine: Machine | None = None) -> bytes:
    """Return the program of the process that reads what the fence logs."""
    return program(only(roles.WATCHER), machine)


def responder(*, machine: Machine | None = None) -> bytes:
    """Return the program of the process that answers on the metrics socket."""
    return program(only(roles.RESPONDER), machine)


def init(*, machine: Machine | None = None) -> bytes:
    """Return the program of process 1 in the workload's PID namespace, which only waits."""
    return program(only(roles.INIT), machine)


def access(*, machine: Machine | None = None) -> bytes:
    """Return the program of the process that serves sessions."""
    return program(only(roles.ACCESS), machine)


def workload_rules(toggle: Toggles, guarded: tuple[int, ...] = ()) -> dict[str, Rule]:
    """Return the workload's rule for each system call."""
    opened = (
        *(toggles.NESTED_SANDBOX if toggle.nested_sandbox else ()),
        *(toggles.DEBUGGER if toggle.debugger else ()),
    )
    return by_name(BASE, opened, toggles.guard(guarded) if guarded else ())


def monitor_rules(toggle: Toggles) -> dict[str, Rule]:
    """Return the monitor's rule for each system call."""
    return workload_rules(toggle) | by_name(roles.MONITOR)


def only(allowed: tuple[Rule, ...]) -> dict[str, Rule]:
    """Return a table in which every known call that ``allowed`` does not name is refused."""
    unneeded = Rule("", EPERM, "this process has no use for it")
    return dict.fromkeys(NUMBERS, unneeded) | by_name(allowed)


def by_name(*layers: tuple[Rule, ...]) -> dict[str, Rule]:
    """Index rules by system call; a later layer replaces what an earlier one said."""
    return {name: rule for layer in layers for rule in layer for name in rule.names.split()}


def program(rules: dict[str, Rule], machine: Machine | None = None) -> bytes:
    """Assemble the rules for one architecture. Raises KeyError for a call without a number."""
    target = machine or this_machine()
    tree = _search(_ranges(rules, target.column))
    return assemble(Branch(_ARCHITECTURE, JUMP_EQUAL, (target.audit_value,), tree, KILL_PROCESS))


def _ranges(rules: dict[str, Rule], column: int) -> list[tuple[int, Decision]]:
    """Return (first number, decision) for each run of numbers that are decided alike."""
    decisions = {NUMBERS[name][column]: rule.decision for name, rule in rules.items()}
    numbers = sorted(number for number in decisions if number is not None)
    ranges: list[tuple[int, Decision]] = []
    for number in range(numbers[-1] + 2):  # one beyond the last: the run that never ends
        decision = decisions.get(number, ENOSYS)
        if not ranges or ranges[-1][1] != decision:
            ranges.append((number, decision))
    return ranges


def _search(ranges: list[tuple[int, Decision]]) -> Node:
    """Build the binary search over the runs."""
    if len(ranges) == 1:
        return _node(ranges[0][1])
    middle = len(ranges) // 2
    return Branch(
        _NUMBER,
        JUMP_GREATER_EQUAL,
        (ranges[middle][0],),
        _search(ranges[middle:]),
        _search(ranges[:middle]),
    )


def _node(decision: Decision) -> Node:
    """Turn what the table says into branches."""
    if isinstance(decision, int):
        return decision
    word = argument_offset(decision.argument)
    if isinstance(decision, AnyBit):
        then, otherwise = _node(decision.then), _node(decision.otherwise)
        return Branch(Word(word), JUMP_ANY_BIT, (decision.bits,), then, otherwise)
    node = _node(decision.otherwise)
    for case in reversed(decision.cases):
        node = Branch(Word(word, decision.mask), JUMP_EQUAL, case.values, _node(case.then), node)
    return node
