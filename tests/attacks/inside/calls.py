"""Rows C: system calls and the kernel's surface. Numbers are x86_64's."""

import ctypes
import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import threading

from attack import (
    EACCES,
    ENOSYS,
    EPERM,
    LIBC,
    Broken,
    attack,
    end,
    in_child,
    raw,
    refused,
    sleeping_child,
    status,
)

HIGH = 1 << 32
X32 = 0x40000000
NEW = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000,
    "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
NO_FAMILY = (EPERM, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)


def _pipe():
    for descriptor in os.pipe():
        os.close(descriptor)


@attack("C1", "io_uring works around the filter", _pipe)
def io_uring():
    parameters = ctypes.create_string_buffer(256)
    refused(lambda: raw(425, 8, ctypes.addressof(parameters)), EPERM, ENOSYS, what="setup")
    refused(lambda: raw(426, 0, 0, 0, 0, 0, 0), EPERM, ENOSYS, what="enter")
    refused(lambda: raw(427, 0, 0, 0, 0), EPERM, ENOSYS, what="register")


def _stream():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


@attack("C2", "the kernel's ciphers are reached through AF_ALG", _stream)
def af_alg():
    for family in (38, 38 | HIGH):
        refused(lambda family=family: raw(41, family, 5, 0), EPERM, what=f"socket {family:#x}")


def _helper():
    subprocess.run(["/opt/attacks/bin/int80", "0"], check=True)


@attack("C3", "the 32-bit entry passes by the filter", _helper)
def int80():
    for number in (20, 102, 359):  # getpid, socketcall, socket of i386
        done = subprocess.run(["/opt/attacks/bin/int80", str(number)])
        if done.returncode != -signal.SIGSYS:
            raise Broken(f"i386 call {number}: {done.returncode}")
    refused(lambda: raw(X32 | 39), ENOSYS, what="x32 getpid")
    refused(lambda: raw(X32 | 41, 16, 3, 12), ENOSYS, what="x32 socket")


def _thread():
    ran = []
    thread = threading.Thread(target=lambda: ran.append(1))
    thread.start()
    thread.join()
    assert ran


@attack("C5", "a new namespace is made or joined", _thread)
def namespaces():
    for kind, flag in NEW.items():
        for dirt in (0, HIGH):
            refused(lambda f=flag | dirt: raw(272, f), EPERM, what=f"unshare {kind}")
            refused(lambda f=flag | dirt: raw(56, f | 17, 0, 0, 0, 0), EPERM, what=f"clone {kind}")
    arguments = ctypes.create_string_buffer(struct.pack("11Q", NEW["user"], *([0] * 10)))
    refused(lambda: raw(435, ctypes.addressof(arguments), 88), ENOSYS, what="clone3")
    with open("/proc/self/ns/user") as own:
        refused(lambda: raw(308, own.fileno(), 0), EPERM, what="setns")


def _stat():
    os.stat("/usr")


@attack("C6", "the tree of files is rearranged", _stat)
def mounts():
    calls = {
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428,
        "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442,
    }  # fmt: skip
    for name, number in calls.items():
        refused(lambda number=number: raw(number, -1, 0, 0, 0, 0), EPERM, what=name)


def _window_size():
    master, slave = os.openpty()
    os.get_terminal_size(slave)
    os.close(master)
    os.close(slave)


@attack("C7", "keys are typed into the terminal of whoever attached", _window_size)
def tiocsti():
    master, slave = os.openpty()
    key = ctypes.create_string_buffer(b"x")
    try:
        for request in (0x5412, 0x541C, 0x5412 | HIGH, 0x5412 | HIGH << 4):
            refused(
                lambda r=request: raw(16, slave, r, ctypes.addressof(key)),
                EPERM,
                what=f"{request:#x}",
            )
    finally:
        os.close(master)
        os.close(slave)


def _child_status():
    child = sleeping_child()
    try:
        with open(f"/proc/{child}/status") as file:
            assert file.read()
    finally:
        end(child)


@attack("C9", "another process' memory is written", _child_status)
def memory():
    child = sleeping_child()
    try:
        refused(
            lambda: os.open(f"/proc/{child}/mem", os.O_RDWR), EACCES, EPERM, what="/proc/PID/mem"
        )
        refused(lambda: raw(101, 16, child, 0, 0), EPERM, what="ptrace attach")
        refused(lambda: raw(311, child, 0, 0, 0, 0, 0), EPERM, what="process_vm_writev")
        handle = os.pidfd_open(child)
        refused(lambda: raw(438, handle, 0, 0), EPERM, what="pidfd_getfd")
        os.close(handle)
    finally:
        end(child)


@attack("C10", "keyrings shared by the host's containers are used", _pipe)
def keyrings():
    for name, number in (("add_key", 248), ("request_key", 249), ("keyctl", 250)):
        refused(lambda number=number: raw(number, 0, 0, 0, 0, 0), EPERM, what=name)


@attack("C11", "a file is opened by its handle, past every path", _stat)
def handles():
    refused(lambda: raw(304, -100, 0, 0), EPERM, what="open_by_handle_at")


def _netlink_route():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@attack("C13", "a socket family that nobody needs exists", _netlink_route)
def families():
    for family in range(46):
        if family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
            continue
        for kind in (1, 2, 3, 5):
            refused(lambda f=family, k=kind: raw(41, f, k, 0), *NO_FAMILY, what=f"family {family}")
    for protocol in range(1, 23):
        refused(lambda p=protocol: raw(41, 16, 3, p), *NO_FAMILY, what=f"netlink {protocol}")
    for family in (2, 10):
        refused(lambda f=family: raw(41, f, 3, 255), *NO_FAMILY, what="raw")
        for protocol in (1, 58, 132, 136, 262):
            refused(lambda f=family, p=protocol: raw(41, f, 1, p), *NO_FAMILY, what=f"{protocol}")


ALLOW_ALL = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)


def _second_filter():
    program = ctypes.create_string_buffer(ALLOW_ALL)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))
    raw(317, 1, 0, ctypes.addressof(header))


@attack("C14", "a further filter lifts the first one", lambda: in_child(_second_filter))
def nested_filter():
    def attempt():
        _second_filter()
        refused(lambda: raw(272, NEW["user"]), EPERM, what="unshare")

    if code := in_child(attempt):
        raise Broken(f"child ended with {code}")


@attack("C15", "nftables are reached through a new user namespace", _netlink_route)
def nftables():
    refused(lambda: raw(272, NEW["user"] | NEW["net"]), EPERM, what="unshare")
    refused(lambda: raw(41, 16, 3, 12), *NO_FAMILY, what="netlink")


@attack("C17", "a thread is without the filter", _thread)
def every_thread():
    seen = []

    def look():
        with open(f"/proc/self/task/{threading.get_native_id()}/status") as file:
            seen.append("Seccomp:\t2" in file.read())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    if status()["Seccomp"] != "2" or seen != [True]:
        raise Broken(f"{status()['Seccomp']}, {seen}")


@attack("C19", "a core dump carries secrets out", lambda: resource.getrlimit(resource.RLIMIT_CORE))
def core_dump():
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    if limits != (0, 0):
        raise Broken(f"RLIMIT_CORE {limits}")
    pid = os.fork()
    if pid == 0:
        LIBC.abort()
    if os.WCOREDUMP(os.waitpid(pid, 0)[1]):
        raise Broken("a core was dumped")
