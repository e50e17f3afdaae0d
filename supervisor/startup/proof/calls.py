"""Probes of the filter: every refused system call answers as the table says.

Calls are made with arguments that the kernel itself would refuse differently (-1 is no pointer, no
descriptor and no flag), so that the right errno means that the filter answered.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial

from supervisor.kernel.filters import Toggles, workload_rules
from supervisor.kernel.libc import raw_syscall
from supervisor.kernel.seccomp_table.machines import this_machine
from supervisor.kernel.seccomp_table.model import ALLOW
from supervisor.kernel.seccomp_table.numbers import NUMBERS
from supervisor.startup.proof.model import Ground, Probe

ERRNO_MASK = 0xFFFF
X32 = 0x40000000
HIGH = 1 << 32  # a dirty upper half of an int argument must change nothing
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
MFD_EXEC, MFD_NOEXEC_SEAL = 0x10, 0x08
READ_IMPLIES_EXEC = 0x0400000
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "time": 0x00000080,
}
OF_BROWSERS = frozenset({"ipc", "user", "pid", "net"})
# name → (family, type, protocol); linux/socket.h
SOCKETS = {
    "raw": (2, 3, 255),
    "raw v6": (10, 3, 58),
    "ping": (2, 2, 1),
    "MPTCP": (2, 1, 262),
    "UDP-Lite": (2, 2, 136),
    "SCTP": (2, 1, 132),
    "DCCP": (2, 6, 33),
    "packet": (17, 3, 0),
    "AF_ALG": (38, 5, 0),
    "vsock": (40, 1, 0),
    "AF_XDP": (44, 3, 0),
    "RDS": (21, 5, 0),
    "TIPC": (30, 1, 0),
    "bluetooth": (31, 3, 1),
    "CAN": (29, 3, 1),
    "netlink nftables": (16, 3, 12),
    "netlink sock_diag": (16, 3, 4),
    "netlink with a dirty family": (16 | HIGH, 3, 12),
    "netlink with a dirty protocol": (16, 3, 12 | HIGH),
}
SOCKET_ANSWERS = frozenset({errno.EPERM, errno.EPROTONOSUPPORT})


def probes(ground: Ground) -> Iterator[Probe]:
    """The refused calls of the table, then those decided by their arguments."""
    toggles = Toggles(nested_sandbox=ground.nested_sandbox, debugger=ground.debugger)
    guarded = (ground.monitor,) if ground.guarded else ()
    for name, rule in sorted(workload_rules(toggles, guarded).items()):
        decision = rule.decision
        if isinstance(decision, int) and decision != ALLOW and _number(name):
            attempt = partial(_call, name, -1, -1, -1, -1, -1, -1)
            yield _refused(name, attempt, decision & ERRNO_MASK)
    for kind, bit in NAMESPACES.items():
        if not (ground.nested_sandbox and kind in OF_BROWSERS):
            yield _refused(f"unshare {kind}", partial(_call, "unshare", bit), errno.EPERM)
            yield _refused(f"clone {kind}", partial(_clone, bit), errno.EPERM)
    for name, (family, kind_, protocol) in SOCKETS.items():
        make = partial(_close, "socket", family, kind_, protocol)
        yield _probe(f"socket {name}", make, SOCKET_ANSWERS)
    for name, request in (("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX)):
        for dirt in (0, HIGH):
            attempt = partial(_call, "ioctl", -1, request | dirt, 0)
            yield _refused(f"{name}{' with a dirty request' if dirt else ''}", attempt, errno.EPERM)
    yield _refused("personality", partial(_call, "personality", READ_IMPLIES_EXEC), errno.EPERM)
    yield _refused("executable memfd", partial(_memfd, MFD_EXEC), errno.ENOSYS)
    yield _refused("x32 getpid", partial(raw_syscall, "x32", X32 | 39), errno.ENOSYS)
    yield from _allowed()


def _allowed() -> Iterator[Probe]:
    for name, attempt in (
        ("fork and wait", _fork),
        ("sealed memfd", partial(_memfd, MFD_NOEXEC_SEAL)),
        ("unix, TCP and UDP sockets", _sockets),
        ("further filters", partial(_call, "prctl", 39, 0, 0, 0, 0)),  # PR_GET_NO_NEW_PRIVS
    ):
        yield _probe(name, attempt, frozenset())


def _probe(name: str, attempt: Callable[[], object], answers: frozenset[int]) -> Probe:
    return Probe(name=name, control="system calls", attempt=attempt, answers=answers)


def _refused(name: str, attempt: Callable[[], object], number: int) -> Probe:
    return _probe(name, attempt, frozenset({number}))


def _number(name: str) -> int | None:
    return NUMBERS[name][this_machine().column]


def _call(name: str, *arguments: int) -> int:
    number = _number(name)
    if number is None:
        raise OSError(errno.ENOSYS, name)
    return raw_syscall(name, number, *arguments)


def _clone(bit: int) -> None:
    # Without an exit signal and with every pointer empty: a plain fork, if it were let through.
    if _call("clone", bit | (0 if bit == NAMESPACES["time"] else 17), 0, 0, 0, 0) == 0:
        os._exit(0)


def _close(name: str, *arguments: int) -> None:
    os.close(_call(name, *arguments))


def _memfd(flag: int) -> None:
    os.close(os.memfd_create("proof", flag))


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _sockets() -> None:
    for family, kind in ((1, 1), (1, 2), (1, 5), (2, 1), (2, 2), (10, 1), (10, 2)):
        try:
            socket.socket(family, kind).close()
        except OSError as error:
            if not (family == socket.AF_INET6 and error.errno == errno.EAFNOSUPPORT):
                raise
