"""The filters as tables: completeness, and every condition run through the assembled program."""

import errno
import itertools

import pytest
from support.bpf_machine import run

from supervisor.kernel import filters
from supervisor.kernel.filters import Toggles
from supervisor.kernel.seccomp_table import roles, toggles, workload
from supervisor.kernel.seccomp_table.machines import AARCH64, X86_64
from supervisor.kernel.seccomp_table.model import ALLOW, KILL_PROCESS, AnyBit, Switch, refuse
from supervisor.kernel.seccomp_table.numbers import NUMBERS
from supervisor.startup.proof import network

EPERM, ENOSYS, NO_PROTOCOL = map(refuse, (errno.EPERM, errno.ENOSYS, errno.EPROTONOSUPPORT))
EINVAL = refuse(errno.EINVAL)
ENODEV = refuse(errno.ENODEV)
MACHINES = [X86_64, AARCH64]
NAMED = {"ids": lambda machine: machine.name}
ALL_TOGGLES = [Toggles(*choice) for choice in itertools.product([False, True], repeat=2)]
GUARDED = (41, 40)
LAYERS = {
    "base": workload.BASE,
    "nested sandbox": toggles.NESTED_SANDBOX,
    "debugger": toggles.DEBUGGER,
    "guard": toggles.guard(GUARDED),
    "monitor": roles.MONITOR,
    "egress": roles.EGRESS,
    "access": roles.ACCESS,
    "watcher": roles.WATCHER,
}
# Upper halves of a 64-bit register that an int argument does not see.
DIRTY = [0, 1 << 32, 0xFFFFFFFF << 32]


def names(layer):
    return [name for rule in layer for name in rule.names.split()]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_every_row_names_known_calls_once_and_has_a_reason(layer):
    assert len(names(layer)) == len(set(names(layer)))
    assert set(names(layer)) <= set(NUMBERS)
    assert all(len(rule.reason) > 3 for rule in layer)


def test_every_known_call_is_allowed_or_refused_by_name():
    assert set(names(workload.BASE)) == set(NUMBERS)


def test_a_row_with_an_unknown_name_stops_the_assembly():
    with pytest.raises(KeyError, match="no_such_call"):
        filters.program({"no_such_call": workload.ALLOWED[0]}, X86_64)


def decide(program, machine, name, *arguments):
    number = NUMBERS[name][machine.column]
    assert number is not None, f"{machine.name} has no {name}"
    return run(program, machine.audit_value, number, *arguments)


def leaves(decision):
    """Every action that a decision can come to."""
    if isinstance(decision, int):
        return {decision}
    if isinstance(decision, AnyBit):
        return leaves(decision.then) | leaves(decision.otherwise)
    assert isinstance(decision, Switch)
    return leaves(decision.otherwise).union(*(leaves(case.then) for case in decision.cases))


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
@pytest.mark.parametrize("toggle", ALL_TOGGLES, ids=str)
def test_every_row_without_conditions_comes_out_of_the_program(machine, toggle):
    program = filters.workload(toggle, machine=machine)
    for name, rule in filters.workload_rules(toggle).items():
        if NUMBERS[name][machine.column] is not None:
            found = decide(program, machine, name, 1 << 63, 0, 5, 7, 11, 13)
            assert found in leaves(rule.decision), name


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_numbers_that_nobody_named_are_enosys(machine):
    program = filters.workload(Toggles(), machine=machine)
    known = {row[machine.column] for row in NUMBERS.values()}
    for number in [*range(600), 1000, 0x3FFFFFFF]:
        if number not in known:
            assert run(program, machine.audit_value, number) == ENOSYS, number


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_nothing_follows_from_the_last_rule_of_a_table(machine):
    program = filters.program({"file_setattr": workload.ALLOWED[0]}, machine)
    answers = [run(program, machine.audit_value, number) for number in (0, 468, 469, 470, -1)]
    assert answers == [ENOSYS, ENOSYS, ALLOW, ENOSYS, ENOSYS]


@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0x80000015, 0])
@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_another_architecture_is_killed(machine, arch):
    other = (AARCH64 if machine is X86_64 else X86_64).audit_value
    for program in (
        filters.workload(Toggles(), machine=machine),
        filters.monitor(Toggles(), machine=machine),
        filters.egress(machine=machine),
        filters.access(machine=machine),
    ):
        for number in (0, 1, 39, 359):
            assert run(program, arch, number) == KILL_PROCESS
            assert run(program, other, number) == KILL_PROCESS


def test_x32_numbers_are_enosys():
    program = filters.workload(Toggles(), machine=X86_64)
    for number in (0x40000000, 0x40000000 + 39, 0x40000000 + 512, -1, -(1 << 31)):
        assert run(program, X86_64.audit_value, number) == ENOSYS


STREAM, DGRAM, RAW, RDM, SEQPACKET, DCCP, PACKET = 1, 2, 3, 4, 5, 6, 10
FLAGS = [0, 0o4000, 0o2000000, 0o2004000]
SOCKETS = {
    (1, STREAM, 0): ALLOW,
    (1, DGRAM, 0): ALLOW,
    (1, SEQPACKET, 0): ALLOW,
    (1, RAW, 0): EPERM,
    (2, STREAM, 0): ALLOW,
    (2, STREAM, 6): ALLOW,
    (2, DGRAM, 0): ALLOW,
    (2, DGRAM, 17): ALLOW,
    (2, STREAM, 262): NO_PROTOCOL,  # MPTCP
    (2, STREAM, 132): NO_PROTOCOL,  # SCTP
    (2, DGRAM, 136): NO_PROTOCOL,  # UDP-Lite
    (2, DGRAM, 1): NO_PROTOCOL,  # ICMP
    (10, DGRAM, 58): NO_PROTOCOL,
    (10, STREAM, 6): ALLOW,
    (10, DGRAM, 17): ALLOW,
    (2, RAW, 255): EPERM,
    (2, RAW, 1): EPERM,
    (10, RAW, 58): EPERM,
    (2, PACKET, 0x0300): EPERM,  # the old way to a packet socket
    (2, SEQPACKET, 132): EPERM,
    (2, DCCP, 33): EPERM,
    (16, RAW, 0): ALLOW,
    (16, DGRAM, 0): ALLOW,
    (16, STREAM, 0): EPERM,
    **{(16, RAW, protocol): NO_PROTOCOL for protocol in range(1, 23)},
    **{
        (family, kind, 0): EPERM
        for family in (0, *range(3, 10), *range(11, 16), *range(17, 50), 1 << 16, 0xFFFFFFFF)
        for kind in (STREAM, DGRAM, RAW, SEQPACKET)
    },
}


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_sockets_by_family_type_and_protocol(machine):
    program = filters.workload(Toggles(), machine=machine)
    for (family, kind, protocol), expected in SOCKETS.items():
        for flags, dirty in itertools.product(FLAGS, DIRTY):
            arguments = (family | dirty, kind | flags | dirty, protocol | dirty)
            assert decide(program, machine, "socket", *arguments) == expected, arguments


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_the_proof_made_again_may_have_every_socket_that_it_sends_from(machine):
    """Its child inherits the monitor's filter: what that refused, the fence would not be asked."""
    program = filters.monitor(Toggles(), machine=machine)
    for (name, kind, protocol, _), family in itertools.product(network.PROTOCOLS, (2, 10)):
        assert decide(program, machine, "socket", family, kind, protocol) == ALLOW, name
    for family, echo in ((2, network.ECHO_V4), (10, network.ECHO_V6)):
        assert decide(program, machine, "socket", family, DGRAM, echo.protocol) == ALLOW
    for family, kind, protocol in ((2, RAW, 255), (2, STREAM, 262), (17, RAW, 0), (38, 5, 0)):
        assert decide(program, machine, "socket", family, kind, protocol) != ALLOW


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_pairs_are_of_the_unix_family(machine):
    program = filters.workload(Toggles(), machine=machine)
    for family, kind, dirty in itertools.product(range(48), range(11), DIRTY):
        allowed = family == 1 and kind in (STREAM, DGRAM, SEQPACKET)
        found = decide(program, machine, "socketpair", family | dirty, kind | dirty)
        assert found == (ALLOW if allowed else EPERM), (family, kind)


NAMESPACES = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
FOR_BROWSERS = {"user", "pid", "net", "ipc"}
THREAD_FLAGS = 0x003D0F00  # what pthread_create(3) asks for


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_new_namespaces(machine, nested):
    program = filters.workload(Toggles(nested_sandbox=nested), machine=machine)
    tried = (("clone", 0), ("clone", THREAD_FLAGS), ("unshare", 0), ("unshare", 0x200))
    for (call, extra), dirty in itertools.product(tried, DIRTY):
        assert decide(program, machine, call, extra | dirty) == ALLOW
        for name, bit in NAMESPACES.items():
            expected = ALLOW if nested and name in FOR_BROWSERS else EPERM
            assert decide(program, machine, call, bit | extra | dirty) == expected, (call, name)
    assert decide(program, machine, "clone3") == ENOSYS
    assert decide(program, machine, "setns") == EPERM
    assert decide(program, machine, "chroot") == (ALLOW if nested else EPERM)


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_no_thread_gets_a_file_table_of_its_own(machine, nested):
    program = filters.workload(Toggles(nested_sandbox=nested), machine=machine)
    clone_files, unshare_flag = 0x400, 2
    for dirty in DIRTY:
        assert decide(program, machine, "clone", THREAD_FLAGS & ~clone_files | dirty) == EPERM
        assert decide(program, machine, "unshare", clone_files | dirty) == EPERM
        assert decide(program, machine, "close_range", 3, 4, unshare_flag | dirty) == EINVAL
        assert decide(program, machine, "close_range", 3, 4, 4 | dirty) == ALLOW


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_no_socket_joins_a_group_whose_name_the_link_would_be_told(machine):
    program = filters.workload(Toggles(), machine=machine)
    joins, ipv6 = (20, 42, 46), 41
    for level, option, dirty in itertools.product((0, 1, 6, 17, ipv6), range(90), DIRTY):
        expected = ENODEV if level == ipv6 and option in joins else ALLOW
        found = decide(program, machine, "setsockopt", 3, level | dirty, option | dirty)
        assert found == expected, (level, option)


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_conditions_on_other_arguments(machine):
    program = filters.workload(Toggles(), machine=machine)
    for dirty in DIRTY:
        for request in (0x5412, 0x541C, 0x5423):
            assert decide(program, machine, "ioctl", 0, request | dirty) == EPERM
        for request in (0x5401, 0x5413, 0x541B, 0x540E):
            assert decide(program, machine, "ioctl", 0, request | dirty) == ALLOW
        for persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
            assert decide(program, machine, "personality", persona | dirty) == ALLOW
        for persona in (0x0400000, 0x0040000, 0x0100000, 1):
            assert decide(program, machine, "personality", persona | dirty) == EPERM
        for flags, expected in {0: ENOSYS, 1: ENOSYS, 8: ALLOW, 9: ALLOW, 0x18: ENOSYS}.items():
            assert decide(program, machine, "memfd_create", 0, flags | dirty) == expected


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_the_debugger_toggle_opens_its_calls_and_no_others(machine):
    calls = ("ptrace", "process_vm_readv", "process_vm_writev", "kcmp")
    closed = filters.workload(Toggles(), machine=machine)
    opened = filters.workload(Toggles(debugger=True), machine=machine)
    for name in NUMBERS:
        if NUMBERS[name][machine.column] is not None:
            before, after = (decide(program, machine, name) for program in (closed, opened))
            assert (before, after) == ((EPERM, ALLOW) if name in calls else (before, before)), name
    assert decide(opened, machine, "personality", 0x0040000) == ALLOW
    assert decide(opened, machine, "pidfd_getfd") == EPERM


MINUS_ONE = 0xFFFFFFFF


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_a_guarded_process_is_out_of_reach(machine):
    program = filters.workload(Toggles(), guarded=GUARDED, machine=machine)
    reaching = [
        *((call, pid) for call in ("tkill", "rt_sigqueueinfo", "pidfd_open") for pid in GUARDED),
        *(("kill", pid) for pid in (41, 40, -41, -40, -1, MINUS_ONE)),
        *((call, 41, 7) for call in ("tgkill", "rt_tgsigqueueinfo")),
        *((call, 7, 40) for call in ("tgkill", "rt_tgsigqueueinfo")),
        *((f"sched_set{what}", 41) for what in ("affinity", "param", "scheduler", "attr")),
        *((call, 0, 41) for call in ("setpriority", "ioprio_set")),
        ("setpriority", 2, 0),
        ("ioprio_set", 3, 0),
        ("prlimit64", 41),
        ("fcntl", 3, 8, 41),
        ("fcntl", 3, 8, -40),
        ("fcntl", 3, 15, 0x7FFF0000),
        ("ioctl", 3, 0x8901),
        ("ioctl", 3, 0x8902),
    ]
    for dirty, (call, *arguments) in itertools.product(DIRTY, reaching):
        registers = [value ^ dirty for value in arguments]
        assert decide(program, machine, call, *registers) == EPERM, (call, arguments)
    for call, *arguments in [
        *((call, 42, 9) for call in ("kill", "tkill", "rt_sigqueueinfo", "pidfd_open", "tgkill")),
        ("kill", 0, 15),
        ("kill", -42, 15),
        ("prlimit64", 0),
        ("setpriority", 0, 0),
        ("fcntl", 3, 8, 42),
        ("fcntl", 3, 2, 41),
        ("ioctl", 3, 0x5401),
    ]:
        assert decide(program, machine, call, *arguments) == ALLOW, (call, arguments)
    assert decide(program, machine, "pidfd_send_signal", 3) == ENOSYS


SAMPLES = [0, 1, 2, 5, 6, 8, 10, 16, 17, 41, 0x5412, 0x5401, 0x10000000, 0x20000, 0xFFFFFFFF]


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
@pytest.mark.parametrize("toggle", ALL_TOGGLES, ids=str)
def test_what_a_workload_may_do_its_monitor_may_do_too(machine, toggle):
    """The monitor's filter is inherited: what it refused, no toggle could open again."""
    inner = filters.workload(toggle, machine=machine)
    outer = filters.monitor(toggle, machine=machine)
    tables = filters.workload_rules(toggle), filters.monitor_rules(toggle)
    for name in NUMBERS:
        if NUMBERS[name][machine.column] is None:
            continue
        conditional = not all(isinstance(rules[name].decision, int) for rules in tables)
        samples = SAMPLES if conditional else [0]
        for arguments in itertools.product(samples, samples, (0, 6, 17)):
            if decide(inner, machine, name, *arguments) == ALLOW:
                assert decide(outer, machine, name, *arguments) == ALLOW, (name, arguments)


LAUNCH = (
    "setns unshare clone setgroups setresgid setresuid capset prctl seccomp execve close_range"
    " landlock_create_ruleset landlock_add_rule landlock_restrict_self mount umount2 pivot_root"
    " setrlimit prlimit64 setsid dup3 ioctl fchdir chdir pidfd_open kill wait4 waitid"
)


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_the_monitor_can_launch(machine):
    program = filters.monitor(Toggles(), machine=machine)
    for name in LAUNCH.split():
        assert decide(program, machine, name, 0x7E020000) == ALLOW, name


UNNEEDED = "bpf io_uring_setup keyctl ptrace init_module kexec_load userfaultfd"


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_the_monitor_is_refused_what_nobody_needs(machine):
    program = filters.monitor(Toggles(), machine=machine)
    for name in UNNEEDED.split():
        assert decide(program, machine, name) == EPERM, name


OUTSIDE_OF_HELPERS = (
    "execve execveat setns unshare mount ptrace kill tkill pidfd_open setresuid setgroups"
    " mknodat unlinkat mkdirat linkat symlinkat renameat2 fchmodat shmget io_setup chdir"
)


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
@pytest.mark.parametrize("role", [filters.egress, filters.access])
def test_egress_and_access_start_nothing_and_reach_nobody(machine, role):
    program = role(machine=machine)
    for name in OUTSIDE_OF_HELPERS.split():
        assert decide(program, machine, name) == EPERM, name
    assert decide(program, machine, "clone", 0x11) == EPERM
    assert decide(program, machine, "clone", THREAD_FLAGS) == ALLOW
    assert decide(program, machine, "prlimit64", 41) == EPERM
    assert decide(program, machine, "prlimit64", 0) == ALLOW
    assert decide(program, machine, "socket", 2, RAW, 0) == EPERM
    assert decide(program, machine, "socket", 2, STREAM, 0) == ALLOW


@pytest.mark.parametrize("machine", MACHINES, **NAMED)
def test_the_watcher_makes_neither_sockets_nor_threads(machine):
    program = filters.watcher(machine=machine)
    for name in f"{OUTSIDE_OF_HELPERS} socket connect bind openat sendmsg memfd_create".split():
        assert decide(program, machine, name) == EPERM, name
    assert decide(program, machine, "clone", THREAD_FLAGS) == EPERM


def test_terminals_are_the_business_of_access_alone():
    window_size = 0x5414
    assert decide(filters.access(machine=X86_64), X86_64, "ioctl", 5, window_size) == ALLOW
    assert decide(filters.egress(machine=X86_64), X86_64, "ioctl", 5, window_size) == EPERM
