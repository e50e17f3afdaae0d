"""Rows D: other processes and local sockets; and the network, as far as the closed fence goes."""

import errno
import os
import resource
import signal
import socket
from functools import partial

from attack import EACCES, EPERM, HIDDEN, Broken, attack, end, refused, sleeping_child

NOBODY_LISTENS = (EPERM, errno.ECONNREFUSED, EACCES, errno.ENOENT)
MAIN = os.getpid()  # of the workload itself; each attack runs in a child of it
SECRETS = ("environ", "mem", "maps", "cwd", "root", "exe", "fd/0", "ns/net", "syscall")


def _own_abstract():
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(f"\0own-{os.getpid()}")
        listener.listen()
        client.connect(listener.getsockname())


@attack("D1", "an abstract socket of the supervisor is reached", _own_abstract)
def abstract_sockets():
    with open("/proc/self/net/unix") as lines:
        names = {line.split()[-1] for line in lines if "@" in line}
    inode = os.stat("/proc/self/ns/mnt").st_ino
    for name in (*names, f"@sandbox-supervisor-{inode}"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as client:
                refused(
                    lambda c=client, n=name: c.connect("\0" + n[1:]),
                    *NOBODY_LISTENS, errno.EPROTOTYPE, what=name,
                )  # fmt: skip


def _signal_child():
    end(sleeping_child())


@attack("D2", "the supervisor is signalled", _signal_child)
def signals():
    refused(lambda: os.kill(os.getppid() or 1, 0), *HIDDEN, what="the parent")
    refused(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), *HIDDEN, what="setpriority")
    limits = (resource.RLIMIT_CPU, (1, 1))
    for pid in before_us():
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
            refused(partial(os.kill, pid, number), *HIDDEN, what=f"signal {number} to {pid}")
        refused(partial(resource.prlimit, pid, *limits), *HIDDEN, what=f"prlimit of {pid}")


def before_us() -> range:
    """Process numbers that were given out before ours: the supervisor's, and in a pod that shares
    its processes the other containers'.
    """
    return range(1, MAIN)


def _own_datagram():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.send(b"x")
    assert theirs.recv(1) == b"x"


@attack("D3", "a unix socket of somebody else has a name here", _own_datagram)
def path_sockets():
    """A connection's end may still have the name of its listener; nobody answers to it."""
    with open("/proc/self/net/unix") as lines:
        paths = {words[-1] for line in lines if "/" in (words := line.split())[-1]}
    for path in paths:
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as client:
                refused(partial(client.connect, path), *NOBODY_LISTENS, what=path)
                if kind == socket.SOCK_DGRAM:
                    refused(partial(client.sendto, b"x", path), *NOBODY_LISTENS, what=path)


@attack("D9", "shared memory of another session is seen", lambda: open("/dev/shm/own", "w").close())
def shared_memory():
    left = set(os.listdir("/dev/shm")) - {"own"}
    if left:
        raise Broken(f"{left}")


def _own_environ():
    with open("/proc/self/environ", "rb") as file:
        file.read()


def _open(path):
    os.close(os.open(path, os.O_RDONLY))


@attack("D10", "the supervisor's process is looked into", _own_environ)
def supervisor_in_proc():
    links = ("cwd", "root", "exe", "fd/0", "ns/net")
    for pid in before_us():
        for name in SECRETS:
            read = os.readlink if name in links else _open
            refused(partial(read, f"/proc/{pid}/{name}"), *HIDDEN, what=f"/proc/{pid}/{name}")


def _loopback():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()


@attack("E1", "TCP leaves", _loopback)
def tcp():
    for family, address in (
        (socket.AF_INET, "198.51.100.1"),
        (socket.AF_INET, "169.254.169.254"),
        (socket.AF_INET6, "2001:db8::1"),
        (socket.AF_INET6, "::ffff:198.51.100.1"),
    ):
        with socket.socket(family) as client:
            client.settimeout(5)
            refused(
                lambda c=client, a=address: c.connect((a, 443)),
                errno.ECONNREFUSED, errno.EPERM, errno.ENETUNREACH, what=address,
            )  # fmt: skip


@attack("E2", "UDP leaves", _loopback)
def udp():
    for family, address in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        for port in (53, 443, 123):
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                refused(
                    lambda s=sender, a=address, p=port: s.sendto(b"x", (a, p)),
                    errno.EPERM, errno.ECONNREFUSED, errno.ENETUNREACH, what=f"{address} {port}",
                )  # fmt: skip
