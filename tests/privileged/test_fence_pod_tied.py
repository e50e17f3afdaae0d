"""The pod form and sockets that are tied to an interface: the wire stays silent, whatever they try."""

import errno
import socket

import pytest
from support.forked import CLONE_NEWNET, in_child
from support.pods import (
    EGRESS,
    OUTSIDE_V4,
    REQUEST,
    WORKLOAD,
    Running,
    World,
    as_uid,
    dial,
    held,
    in_world,
    run,
)

from supervisor.fence.names import BLOCKED_OUT, BLOCKED_WIRE
from supervisor.fence.setup import install_pod_fence
from supervisor.kernel import nflog

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
PAYLOAD = b"not for the wire"
NEIGHBOUR = "fe80::1234"
SHORT_S = 0.5
LARGEST_PACKET = 1 << 16


class Wire:
    """Sees every packet that leaves the pod."""

    def __init__(self, world: World) -> None:
        with world.being_outside():
            self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            self._tap.bind(("o0", 0))
        self._tap.setblocking(False)

    def carried(self) -> list[tuple[int, str]]:
        """Protocol and destination of each TCP and UDP packet since the last call."""
        found = []
        while True:
            try:
                packet, (_, kind, direction, *_) = self._tap.recvfrom(LARGEST_PACKET)
            except BlockingIOError:
                return [one for one in found if one[0] in (6, 17)]
            if direction == socket.PACKET_OUTGOING:
                continue  # what the outside answered
            if kind == ETH_P_IP:
                found.append((packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])))
            elif kind == ETH_P_IPV6:
                found.append((packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40])))


def tied(address, port, kind, *, scope=False):
    """Connect and send from a socket of eth0, by name or by the scope of the address; the errno,
    0 where nothing refused it."""

    def work():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        interface = socket.if_nametoindex("eth0") if scope else 0
        target = (address, port, 0, interface) if family == socket.AF_INET6 else (address, port)
        with socket.socket(family, kind) as client:
            client.settimeout(SHORT_S)
            if not scope:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            try:
                client.connect(target)
                client.send(PAYLOAD)
            except TimeoutError:
                return -1
            except OSError as error:
                return error.errno
            return 0

    return work


def seen(fence):
    """The packets that NFLOG told of: prefix, protocol and user."""
    with held(fence, "nflog") as log:
        log.settimeout(0)
        found = []
        while packets := nflog.receive(log):
            found += [(packet.prefix, packet.protocol, packet.uid) for packet in packets]
        return found


def in_settled_world(work):
    """As ``in_world``, with a link-local address that is ready to be used."""

    def child():
        world = World()
        run("ip address add fe80::2/64 dev eth0 nodad")
        return work(world, install_pod_fence(REQUEST))

    return in_child(child, unshare=CLONE_NEWNET)


@pytest.mark.parametrize("port", [8080, 53])
@pytest.mark.parametrize(
    ("kind", "protocol", "refusal"),
    [
        (socket.SOCK_STREAM, 6, errno.ECONNREFUSED),
        (socket.SOCK_DGRAM, 17, errno.EPERM),
    ],
)
def test_a_link_local_neighbour_is_refused_at_once_and_told(kind, protocol, refusal, port):
    def work(world, fence):
        wire = Wire(world)
        ended = as_uid(WORKLOAD, tied(NEIGHBOUR, port, kind, scope=True))
        return ended, seen(fence), wire.carried()

    assert in_settled_world(work) == (refusal, [(BLOCKED_OUT, protocol, WORKLOAD)], [])


@pytest.mark.parametrize("address", [OUTSIDE_V4, "2001:db8::5", "198.18.0.9"])
@pytest.mark.parametrize(
    ("kind", "port", "protocol", "ended"),
    [
        (socket.SOCK_DGRAM, 53, 17, errno.EPERM),
        # No answer of the fence finds its way to such a socket: the program waits.
        (socket.SOCK_STREAM, 53, 6, -1),
        (socket.SOCK_STREAM, 8080, 6, -1),
    ],
)
def test_what_is_tied_to_the_wire_does_not_get_onto_it(address, kind, port, protocol, ended):
    def work(world, fence):
        wire = Wire(world)
        result = as_uid(WORKLOAD, tied(address, port, kind))
        return result, set(seen(fence)), wire.carried()

    assert in_world(work) == (ended, {(BLOCKED_WIRE, protocol, WORKLOAD)}, [])


def test_the_tap_does_see_what_egress_sends_tied_or_not():
    def work(world, fence):
        wire = Wire(world)
        with world.listener(OUTSIDE_V4, 8443):
            ended = as_uid(EGRESS, tied(OUTSIDE_V4, 8443, socket.SOCK_STREAM))
        return ended, set(wire.carried()), seen(fence)

    assert in_world(work) == (0, {(6, OUTSIDE_V4)}, [])


@pytest.mark.parametrize(
    ("address", "listener"), [("169.254.7.7", "capture4"), ("169.254.169.254", "capture4")]
)
def test_link_local_of_ipv4_goes_to_egress_as_any_address_does(address, listener):
    def work(world, fence):
        wire = Wire(world)
        client = Running(WORKLOAD, dial(address, 80))
        with held(fence, listener) as capture:
            accepted, _ = capture.accept()
        with accepted:
            accepted.sendall(b"judged")
        return client.result(), wire.carried()

    assert in_world(work) == (b"judged", [])
