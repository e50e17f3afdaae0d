"""A pod's network namespace with a wire to an outside, both made for one test.

``world()`` must be called in a forked child that already is in a network namespace of its own:
that one becomes the outside; afterwards the process is inside the pod.
"""

import encodings.idna  # noqa: F401 - getaddrinfo needs it, and another user may not read it
import os
import pickle
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from supervisor.fence.request import PodRequest
from supervisor.fence.setup import install_pod_fence
from supervisor.kernel.namespaces import open_namespace, setns, unshare
from support.fences import become
from support.forked import CLONE_NEWNET, in_child

OUTSIDE_V4, POD_V4 = "10.77.0.1", "10.77.0.2"
OUTSIDE_V6, POD_V6 = "fd77::1", "fd77::2"
EGRESS = 64998
WORKLOAD = 2001

SO_ORIGINAL_DST = 80
REQUEST = PodRequest(egress_uid=EGRESS, workload_uid=WORKLOAD)


class World:
    """The outside and the pod; sockets can be made in either, and used from anywhere."""

    def __init__(self) -> None:
        self.outside = open_namespace("net")
        # Somebody has to be in the outside for `ip link … netns PID`.
        self._holder = os.fork()
        if self._holder == 0:
            signal_pause()
        unshare(CLONE_NEWNET)
        self.pod = open_namespace("net")
        run("ip link set lo up")
        run(f"ip link add eth0 type veth peer name o0 netns {self._holder}")
        run(f"ip address add {POD_V4}/24 dev eth0")
        run(f"ip address add {POD_V6}/64 dev eth0 nodad")
        run("ip link set eth0 up")
        with self.being_outside():
            run("ip link set lo up")
            run(f"ip address add {OUTSIDE_V4}/24 dev o0")
            run(f"ip address add {OUTSIDE_V6}/64 dev o0 nodad")
            run("ip link set o0 up")
        run(f"ip route add default via {OUTSIDE_V4}")
        run(f"ip -6 route add default via {OUTSIDE_V6}")

    @contextmanager
    def being_outside(self) -> Iterator[None]:
        setns(self.outside, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(self.pod, CLONE_NEWNET)

    def listener(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A server's socket outside, waiting at most five seconds for anything."""
        with self.being_outside():
            server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            if kind == socket.SOCK_STREAM:
                server.listen()
            server.settimeout(5)
            return server


def signal_pause() -> None:
    import prctl

    prctl.set_pdeathsig(9)
    threading.Event().wait()


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


class Running:
    """A forked child that is another user; ``result()`` waits for what the function returned.

    ``before`` is called while the child still is who we are.
    """

    def __init__(
        self, uid: int, function: Callable[[], Any], before: Callable[[], None] = lambda: None
    ) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                before()
                become(uid)
                answer = function()
            except OSError as error:
                answer = error
            except BaseException as error:
                answer = AssertionError(repr(error))
            os.write(write, pickle.dumps(answer))
            os._exit(0)
        os.close(write)

    def result(self) -> Any:
        with os.fdopen(self._read, "rb") as pipe:
            answer = pickle.loads(pipe.read())
        os.waitpid(self._pid, 0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def as_uid(uid: int, function: Callable[[], Any]) -> Any:
    return Running(uid, function).result()


def original_destination(accepted: socket.socket) -> tuple[str, int]:
    """Where a redirected connection was going (SO_ORIGINAL_DST of netfilter)."""
    if accepted.family == socket.AF_INET:
        data = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntoa(data[4:8]), struct.unpack("!H", data[2:4])[0]
    data = accepted.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, data[8:24]), struct.unpack("!H", data[2:4])[0]


def in_world(work, request=REQUEST):
    """Call ``work(world, fence)`` in a fenced pod; its result."""

    def child():
        world = World()
        return work(world, install_pod_fence(request))

    return in_child(child, unshare=CLONE_NEWNET)


def held(fence, name):
    """One of the fence's sockets, waiting at most five seconds for anything."""
    found = socket.socket(fileno=os.dup(fence.sockets[name]))
    found.settimeout(5)
    return found


def dial(address, port, payload=b"hello"):
    """Connect, send, and return what comes back."""

    def work():
        with socket.create_connection((address, port), timeout=5) as client:
            client.sendall(payload)
            return client.recv(100)

    return work


def ask(resolver, *, source=0):
    """Send a query over UDP, from the port ``source``; what comes back."""

    def work():
        family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.bind(("", source))
            client.settimeout(5)
            client.connect((resolver, 53))
            client.send(b"question")
            return client.recv(100)

    return work


def answered(dns, client, who=b"somebody"):
    """What ``client``, which asks, gets from the socket ``dns``: a sentence with ``who`` in it."""
    question, asker = dns.recvfrom(100)
    dns.sendto(who + b" answers " + question, asker)
    return client.result()


def served(fence, listener, client):
    """Accept the connection of ``client`` there and say in upper case what it says: where it was
    going, and what it got.
    """
    with held(fence, listener) as listening:
        accepted, _ = listening.accept()
    with accepted:
        destination = original_destination(accepted)
        accepted.sendall(accepted.recv(100).upper())
    return destination, client.result()


def send_udp(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (address, port))
