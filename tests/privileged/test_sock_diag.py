import os
import socket
import subprocess
import time
from ipaddress import ip_address

from support.forked import CLONE_NEWNET, in_child
from support.sockets import tcp_pair

from supervisor.kernel.route_get import is_dialled_outside, open_route
from supervisor.kernel.sock_diag import find_tcp, open_sock_diag, tcp_towards

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
  }
}
"""


def redirected(listener):
    """Connections from one source port to two redirected destinations: (client, accepted) twice."""
    for words in ("link set lo up", "route add local 198.18.0.0/15 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
    rules = REDIRECT.replace("PORT", str(listener.getsockname()[1]))
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    for address in ("198.18.0.1", "198.18.0.2"):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", 40000))
        client.connect((address, 7))
        yield client, listener.accept()[0]


def test_a_client_whose_port_was_changed_on_the_way_is_found_by_its_destination():
    def body():
        diag = open_sock_diag()
        listener = socket.create_server(("127.0.0.1", 0))
        (_first, _), (two, accepted) = redirected(listener)
        seen = accepted.getpeername()[1]
        remote = (ip_address("198.18.0.2"), 7)
        exact = find_tcp(diag, (LOOPBACK, seen), remote)
        towards = tcp_towards(diag, LOOPBACK, remote)
        return seen != 40000, exact, [owner.inode for owner in towards] == [inode(two)]

    assert in_child(body, unshare=CLONE_NEWNET) == (True, None, True)
