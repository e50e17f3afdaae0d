"""The namespace form with egress served: what is captured, and that nothing else leaves."""

import os
import socket
from ipaddress import ip_address

import pytest
from support.fences import ATTEMPTS, REFUSALS, enter, inside, send_to
from support.forked import in_child
from support.pods import (
    WORKLOAD,
    Running,
    answered,
    as_uid,
    ask,
    dial,
    held,
    original_destination,
    send_udp,
    served,
)

from supervisor.fence.names import BLOCKED_OUT
from supervisor.fence.request import Served
from supervisor.fence.setup import create_namespace
from supervisor.kernel import nflog
from supervisor.kernel.sock_diag import find_tcp, open_sock_diag


def workload(fence, function):
    """Start a function as the workload, inside the namespace."""
    return Running(WORKLOAD, function, before=lambda: enter(fence))


@pytest.mark.parametrize(
    ("address", "listener"),
    [
        ("203.0.113.5", "capture4"),
        ("198.18.0.9", "capture4"),
        ("2001:db8::5", "capture6"),
        ("fdc6:5e1f:9d07::9", "capture6"),
    ],
)
def test_tcp_is_accepted_outside_the_namespace_with_its_destination(address, listener):
    fence = create_namespace(Served())
    client = workload(fence, dial(address, 443))

    assert served(fence, listener, client) == ((address, 443), b"HELLO")


@pytest.mark.parametrize(
    ("resolver", "listener"),
    [("8.8.8.8", "dns_udp4"), ("127.0.0.53", "dns_udp4"), ("2001:4860:4860::8888", "dns_udp6")],
)
def test_dns_is_answered_as_if_by_the_resolver_that_was_asked(resolver, listener):
    fence = create_namespace(Served())
    client = workload(fence, ask(resolver))

    with held(fence, listener) as dns:
        assert answered(dns, client) == b"somebody answers question"


def test_dns_over_tcp_is_answered():
    fence = create_namespace(Served())
    client = workload(fence, dial("8.8.8.8", 53))

    assert served(fence, "dns_tcp4", client) == (("8.8.8.8", 53), b"HELLO")


def test_the_proxy_port_is_for_dialling():
    fence = create_namespace(Served())
    client = workload(fence, dial("127.0.0.1", Served().proxy))

    with held(fence, "proxy4") as proxy:
        accepted, _ = proxy.accept()
    with accepted:
        accepted.sendall(accepted.recv(100))

    assert client.result() == b"hello"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1"])
@pytest.mark.parametrize("port", [Served().capture, Served().dns])
def test_dialling_a_capture_port_directly_is_refused(address, port):
    client = workload(create_namespace(Served()), dial(address, port))

    with pytest.raises(ConnectionRefusedError):
        client.result()


def test_asking_the_dns_port_directly_is_refused():
    client = workload(create_namespace(Served()), lambda: send_udp("127.0.0.1", Served().dns))

    with pytest.raises(PermissionError):
        client.result()


@pytest.mark.parametrize("address", ["203.0.113.5", "2001:db8::5", "198.18.0.9"])
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_but_tcp_and_dns_goes_anywhere(attempt, address):
    fence = create_namespace(Served())

    refusal = inside(fence, lambda: send_to(address, **ATTEMPTS[attempt]))
    with held(fence, "nflog") as log:
        (blocked, *_) = nflog.receive(log)

    assert refusal in REFUSALS
    assert (blocked.prefix, str(blocked.destination)) == (BLOCKED_OUT, address)


def test_who_owns_a_captured_connection_is_known_from_outside():
    fence = create_namespace(Served())

    def connect():
        client = socket.create_connection(("203.0.113.5", 443), timeout=5)
        inode = os.fstat(client.fileno()).st_ino
        client.recv(10)
        return inode

    client = workload(fence, connect)
    with held(fence, "capture4") as capture:
        accepted, (address, port) = capture.accept()
    diag = open_sock_diag(fence.sockets["sock_diag"])
    with accepted, diag.socket:
        dialled, dialled_port = original_destination(accepted)
        near, far = (ip_address(address), port), (ip_address(dialled), dialled_port)
        owner = find_tcp(diag, near, far)
        nobody = find_tcp(diag, near, (ip_address("203.0.113.6"), 443))
        accepted.sendall(b"go")

    assert (owner.uid, owner.inode) == (WORKLOAD, client.result())
    assert nobody is None


def test_in_a_user_namespace_egress_is_served_just_the_same():
    def work():
        fence = create_namespace(Served())
        client = os.fork()
        if client == 0:
            enter(fence)
            os._exit(0 if dial("203.0.113.5", 443)() == b"served" else 1)
        with held(fence, "capture4") as capture:
            accepted, _ = capture.accept()
        with accepted:
            accepted.sendall(b"served")
            destination = original_destination(accepted)
        return destination, os.waitpid(client, 0)[1]

    assert in_child(lambda: as_uid(4242, work)) == (("203.0.113.5", 443), 0)
