"""Every row of the table against this kernel: the filter answers as the table says, and where it
allows, the kernel answers as it does without a filter.

Each call is made by root with all capabilities and senseless arguments, so that "refused" can only
be the filter's word: the kernel itself would say EFAULT, EINVAL or EBADF.
"""

import ctypes
import errno
import os

import pytest
from support.forked import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, in_child

from supervisor.kernel import filters, seccomp
from supervisor.kernel.filters import Toggles
from supervisor.kernel.libc import libc
from supervisor.kernel.seccomp_table.machines import this_machine
from supervisor.kernel.seccomp_table.model import ALLOW, refuse
from supervisor.kernel.seccomp_table.numbers import NUMBERS

CLONE_NEWIPC = 0x08000000  # shmget and its kin do create something

# They end, split, stop or rewind the process that asks.
NOT_TO_BE_CALLED = (
    "exit exit_group fork vfork clone pause rt_sigreturn rt_sigsuspend restart_syscall seccomp"
    " uretprobe uprobe vhangup rt_sigtimedwait wait4 waitid sync munlockall landlock_restrict_self"
)
# Refused by this kernel too, whoever asks: not built in, or disabled at boot.
ABSENT = {errno.ENOSYS, errno.EOPNOTSUPP}


def answers(names, program):
    """The errno of each call (0: it worked), all arguments being -1."""
    column = this_machine().column
    minus_one = [ctypes.c_long(-1)] * 6
    if program is not None:
        seccomp.install(program)
    found = {}
    for name in names:
        ctypes.set_errno(0)
        failed = libc.syscall(ctypes.c_long(NUMBERS[name][column]), *minus_one) < 0
        found[name] = ctypes.get_errno() if failed else 0
    return found


def ask(names, program=None):
    unshared = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC
    return in_child(lambda: answers(names, program), unshare=unshared)


def callable_rules(rules):
    column = this_machine().column
    return {
        name: rule.decision
        for name, rule in rules.items()
        if name not in NOT_TO_BE_CALLED.split()
        and NUMBERS[name][column] is not None
        and isinstance(rule.decision, int)
    }


@pytest.mark.parametrize(
    "rules", [filters.workload_rules(Toggles()), filters.monitor_rules(Toggles())]
)
def test_refused_rows_are_refused_by_the_filter_and_not_by_the_kernel(rules):
    refused = {name: act for name, act in callable_rules(rules).items() if act != ALLOW}
    filtered = ask(list(refused), filters.program(rules))
    assert {name: refuse(number) for name, number in filtered.items()} == refused
    plain = ask(list(refused))
    same = {name for name, number in plain.items() if number == filtered[name]}
    assert {plain[name] for name in same} <= ABSENT | {errno.EPERM}
    # What the kernel itself answers with EPERM to -1: nothing was proved about these here.
    unproved = {name for name in same if plain[name] == errno.EPERM}
    assert unproved <= {"userfaultfd", "perf_event_open"}, unproved
    assert len(refused) - len(same) > 45


@pytest.mark.parametrize(
    "rules", [filters.workload_rules(Toggles()), filters.monitor_rules(Toggles())]
)
def test_allowed_rows_reach_the_kernel(rules):
    allowed = [name for name, act in callable_rules(rules).items() if act == ALLOW]
    assert len(allowed) > 200
    assert ask(allowed, filters.program(rules)) == ask(allowed)


def test_numbers_beyond_the_table_are_enosys():
    def unknown():
        seccomp.install(filters.workload(Toggles()))
        found = set()
        for number in (337, 423, 470, 471, 511, 512, 547, 600, 4096, 0x3FFFFFFF):
            ctypes.set_errno(0)
            assert libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6) == -1
            found.add(ctypes.get_errno())
        return found

    assert in_child(unknown) == {errno.ENOSYS}


def youngest_calls():
    """What the calls that no header of a stable distribution names yet really do, by number."""
    here, root_of_at = b"/tmp/sandbox-test-attributes", -100

    class Value(ctypes.Structure):  # struct xattr_args of linux/xattr.h
        _fields_ = (
            ("value", ctypes.c_uint64),
            ("size", ctypes.c_uint32),
            ("flags", ctypes.c_uint32),
        )

    def call(name, *arguments):
        number = NUMBERS[name][this_machine().column]
        converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        return libc.syscall(ctypes.c_long(number), *converted)

    with open(here, "wb"):
        pass
    content, buffer = ctypes.create_string_buffer(b"hello"), ctypes.create_string_buffer(64)
    given = Value(ctypes.addressof(content), 5, 0)
    taken = Value(ctypes.addressof(buffer), 64, 0)
    at = (root_of_at, here, 0)
    found = {
        "setxattrat": call("setxattrat", *at, b"user.x", ctypes.byref(given), 16),
        "listxattrat": call("listxattrat", *at, buffer, 64),
        "getxattrat": call("getxattrat", *at, b"user.x", ctypes.byref(taken), 16),
        "value": buffer.raw[:5],
        "removexattrat": call("removexattrat", *at, b"user.x"),
        "left": os.listxattr(here),
        "file_getattr": call("file_getattr", root_of_at, here, buffer, 24, 0),
        "file_setattr": call("file_setattr", root_of_at, here, buffer, 24, 0),
        "mseal": call("mseal", 0, 0, 0),
    }
    tree = call("open_tree_attr", root_of_at, here, 0, None, 0)
    found["open_tree_attr"] = os.readlink(f"/proc/self/fd/{tree}").encode()
    os.unlink(here)
    return found


def test_the_youngest_numbers_are_those_calls():
    assert in_child(youngest_calls) == {
        "setxattrat": 0,
        "listxattrat": len(b"user.x") + 1,
        "getxattrat": 5,
        "value": b"hello",
        "removexattrat": 0,
        "left": [],
        "file_getattr": 0,
        "file_setattr": 0,
        "mseal": 0,
        "open_tree_attr": b"/tmp/sandbox-test-attributes",
    }
