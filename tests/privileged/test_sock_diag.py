import os
import socket
import time
from ipaddress import ip_address

import pytest
from support.egress_lab import run, tell_source_ports
from support.forked import CLONE_NEWNET, in_child
from support.sockets import tcp_pair

from supervisor.fence.request import Served
from supervisor.kernel.route_get import is_dialled_outside, open_route
from supervisor.kernel.sock_diag import find_tcp, open_sock_diag
from supervisor.kernel.tcp_saved_syn import save_syn, saved_urgent_pointer

LOOPBACK = ip_address("127.0.0.1")


def ends(sock):
    (near, near_port), (far, far_port) = sock.getsockname()[:2], sock.getpeername()[:2]
    return (ip_address(near), near_port), (ip_address(far), far_port)


def inode(sock):
    return os.fstat(sock.fileno()).st_ino


def test_each_end_of_a_connection_has_its_own_owner():
    near, far = tcp_pair()
    diag = open_sock_diag()
    with near, far, diag.socket:
        for sock in (near, far):
            owner = find_tcp(diag, *ends(sock))
            assert (owner.uid, owner.inode) == (os.getuid(), inode(sock))


def test_ipv6_and_mapped_connections_are_found():
    diag = open_sock_diag()
    with diag.socket, socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        with socket.create_connection(listener.getsockname()[:2]) as client:
            assert find_tcp(diag, *ends(client)).inode == inode(client)
    with diag.socket, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.socket(socket.AF_INET6) as client:
            client.connect(("::ffff:127.0.0.1", port))
            diag = open_sock_diag()
            here = (LOOPBACK, client.getsockname()[1])
            assert find_tcp(diag, here, (LOOPBACK, port)).inode == inode(client)
            diag.close()


def test_a_listener_is_not_taken_for_a_connection_on_its_port():
    diag = open_sock_diag()
    with diag.socket, socket.create_server(("127.0.0.1", 0)) as listener:
        here = (LOOPBACK, listener.getsockname()[1])
        assert find_tcp(diag, here, (LOOPBACK, 1)) is None


def test_a_connection_that_nobody_holds_has_no_owner():
    near, far = tcp_pair()
    diag = open_sock_diag()
    here, there = ends(near)
    near.close()
    with far, diag.socket:
        owner = find_tcp(diag, here, there)
        assert owner is None or owner.inode == 0


def test_the_number_of_sockets_does_not_matter():
    pairs = [tcp_pair() for _ in range(300)]
    diag = open_sock_diag()

    def cost():
        start = time.process_time()
        for _ in range(500):
            assert find_tcp(diag, *ends(pairs[0][0])) is not None
        return time.process_time() - start

    many = cost()
    for near, far in pairs[1:]:
        near.close()
        far.close()
    few = cost()
    pairs[0][0].close()
    pairs[0][1].close()
    diag.close()
    assert many < 5 * few


def test_a_socket_made_inside_a_namespace_sees_that_namespace_only():
    near, far = tcp_pair()
    here, there = ends(near)

    def inside():
        with open_sock_diag().socket as sock:
            diag = open_sock_diag()
            found = find_tcp(diag, here, there)
            diag.close()
            return found is None and sock.fileno() >= 0

    with near, far:
        assert in_child(inside, unshare=CLONE_NEWNET)


def test_own_addresses_are_told_from_those_outside():
    route = open_route()
    with route.socket:
        assert not is_dialled_outside(route, LOOPBACK)
        assert not is_dialled_outside(route, ip_address("::1"))
        assert not is_dialled_outside(route, ip_address("255.255.255.255"))
        assert is_dialled_outside(route, ip_address("192.0.2.1"))
        assert is_dialled_outside(route, ip_address("2001:db8::1"))


# Two destinations, one redirected port: towards the second one the kernel changes the client's
# source port, because connection tracking could not tell the two apart behind the redirect.
REDIRECT = """
table inet lab {
  chain nat {
    type nat hook output priority -110
    ip daddr 198.18.0.0/15 tcp dport 7 redirect to :PORT
    ip6 daddr fdc6:5e1f:9d07::/64 tcp dport 7 redirect to :PORT
  }
}
"""
DESTINATIONS = {
    socket.AF_INET: ("198.18.0.1", "198.18.0.2", "198.18.0.3"),
    socket.AF_INET6: ("fdc6:5e1f:9d07::1", "fdc6:5e1f:9d07::2", "fdc6:5e1f:9d07::3"),
}
OWN = {socket.AF_INET: LOOPBACK, socket.AF_INET6: ip_address("::1")}


class Redirected:
    """A listener that gets whatever is dialled in the pools, and is told the source ports."""

    def __init__(self, family):
        self.family = family
        run("ip", "link", "set", "lo", "up")
        for pool in ("198.18.0.0/15", "fdc6:5e1f:9d07::/64"):
            run("ip", "route", "add", "local", pool, "dev", "lo")
        self.listener = socket.create_server((str(OWN[family]), 0), family=family)
        port = self.listener.getsockname()[1]
        run("nft", "-f", "-", text=REDIRECT.replace("PORT", str(port)))
        tell_source_ports(Served(capture=port))
        save_syn(self.listener)

    def connect(self, number, port):
        """From ``port`` to the destination of this number: (client, accepted)."""
        client = socket.socket(self.family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((str(OWN[self.family]), port))
        client.connect((DESTINATIONS[self.family][number], 7))
        return client, self.listener.accept()[0]

    def told(self, accepted, number):
        """The socket that the connection to this destination is said to come from."""
        port = saved_urgent_pointer(accepted)
        remote = (ip_address(DESTINATIONS[self.family][number]), 7)
        return find_tcp(open_sock_diag(), (OWN[self.family], port), remote).inode


@pytest.mark.parametrize("family", DESTINATIONS)
def test_a_client_whose_port_was_changed_on_the_way_is_found_by_the_port_that_it_has(family):
    def body():
        redirected = Redirected(family)
        for number in range(2):
            client, accepted = redirected.connect(number, 40000)
            assert redirected.told(accepted, number) == inode(client)
            yield accepted.getpeername()[1]

    first, second = in_child(lambda: list(body()), unshare=CLONE_NEWNET)
    assert first == 40000 != second


@pytest.mark.parametrize("family", DESTINATIONS)
def test_who_takes_the_port_that_a_client_was_given_on_the_way_does_not_vouch_for_it(family):
    def body():
        redirected = Redirected(family)
        first = redirected.connect(0, 40000)
        client, accepted = redirected.connect(1, 40000)
        given = accepted.getpeername()[1]
        other = redirected.connect(1, given)
        assert redirected.told(accepted, 1) == inode(client)
        assert redirected.told(other[1], 1) == inode(other[0])
        return first[1].getpeername()[1], given

    first, given = in_child(body, unshare=CLONE_NEWNET)
    assert first == 40000 != given


def test_a_connection_from_before_anybody_asked_has_told_nothing():
    def body():
        listener = socket.create_server(("127.0.0.1", 0))
        clients = [socket.create_connection(listener.getsockname())]
        save_syn(listener)
        clients.append(socket.create_connection(listener.getsockname()))
        return [saved_urgent_pointer(listener.accept()[0]) for _ in clients]

    assert in_child(body) == [None, 0]


def test_options_in_front_of_the_header_do_not_shift_the_port():
    def body():
        redirected = Redirected(socket.AF_INET)
        client = socket.socket()
        timestamps = bytes([68, 12, 5, 0]) + bytes(8)  # RFC 791, section 3.1
        client.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, timestamps)
        client.bind((str(LOOPBACK), 40000))
        client.connect((DESTINATIONS[socket.AF_INET][0], 7))
        return saved_urgent_pointer(redirected.listener.accept()[0])

    assert in_child(body, unshare=CLONE_NEWNET) == 40000
