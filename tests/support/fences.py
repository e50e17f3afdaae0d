"""For tests of the fence: be another user, be inside a fenced namespace, forbid a system call."""

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Callable
from typing import Any

from supervisor.fence.request import FencedNamespace
from supervisor.kernel.libc import check, libc
from supervisor.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, setns
from support.forked import in_child

WORKLOAD = 4242
# How a refused attempt ends for the program: TCP by reset, the rest by ICMP or at once.
REFUSALS = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM}

# What nothing lets out: for ``send_to``.
ATTEMPTS = {
    "udp": {"kind": socket.SOCK_DGRAM, "port": 5353},
    "quic": {"kind": socket.SOCK_DGRAM, "port": 443},
    "udp-lite": {"kind": socket.SOCK_DGRAM, "protocol": 136},
    "ping": {"kind": socket.SOCK_RAW, "protocol": socket.IPPROTO_ICMP, "port": 0},
    "gre": {"kind": socket.SOCK_RAW, "protocol": 47, "port": 0},
    "raw sctp": {"kind": socket.SOCK_RAW, "protocol": 132, "port": 0},
}

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
NUMBERS = {"x86_64": {"unshare": 272, "sendto": 44}, "aarch64": {"unshare": 97, "sendto": 206}}
EPERM_RESULT = 0x00050001
ALLOW = 0x7FFF0000

CAPABILITY_VERSION_3 = 0x20080522


def become(uid: int) -> None:
    """Be an ordinary user: no supplementary group, no capability."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def as_user(uid: int, function: Callable[[], Any]) -> Any:
    """Call in a forked child that is an ordinary user."""

    def work() -> Any:
        become(uid)
        return function()

    return in_child(work)


def enter(fence: FencedNamespace) -> None:
    if fence.user is not None:
        setns(fence.user, CLONE_NEWUSER)
    setns(fence.net, CLONE_NEWNET)


def inside(fence: FencedNamespace, function: Callable[[], Any]) -> Any:
    """Call in a forked child inside the fenced namespace."""

    def work() -> Any:
        enter(fence)
        return function()

    return in_child(work)


def keep_capabilities(kept: set[int]) -> None:
    """Stay uid 0 with only these capabilities, in all three sets."""
    low = sum(1 << number for number in kept if number < 32)
    high = sum(1 << (number - 32) for number in kept if number >= 32)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    data = struct.pack("=IIIIII", low, low, low, high, high, high)
    check(libc.capset(header, data), "capset")


def forbid(syscall: str) -> None:
    """What a seccomp profile does (Docker's default one, to unshare(2)): EPERM."""
    number = NUMBERS[platform.machine()][syscall]
    code = (
        struct.pack("=HBBI", 0x20, 0, 0, 0),  # load the system call's number
        struct.pack("=HBBI", 0x15, 0, 1, number),
        struct.pack("=HBBI", 0x06, 0, 0, EPERM_RESULT),
        struct.pack("=HBBI", 0x06, 0, 0, ALLOW),
    )
    filters = ctypes.create_string_buffer(b"".join(code))
    program = struct.pack("=H6xQ", len(code), ctypes.addressof(filters))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0), "prctl")


def send_to(
    address: str, *, kind: int, protocol: int = 0, port: int = 9, patience_s: float = 3.0
) -> int:
    """Send or connect to a foreign address; the errno of the refusal, 0 if nothing refused it, -1
    if nobody answered at all.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, kind, protocol) as wire:
            wire.settimeout(patience_s)
            if kind == socket.SOCK_STREAM:
                wire.connect((address, port))
            else:
                wire.sendto(b"\x08\0\xf7\xff\0\0\0\0", (address, port))
    except TimeoutError:
        return -1
    except OSError as error:
        return error.errno or -1
    return 0
