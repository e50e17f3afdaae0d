"""The pod form, with real traffic over a wire between two namespaces."""

import os
import socket
import subprocess

import pytest
from support.fences import ATTEMPTS, REFUSALS, send_to
from support.forked import CLONE_NEWNET, in_child
from support.pods import (
    EGRESS,
    OUTSIDE_V4,
    OUTSIDE_V6,
    POD_V4,
    REQUEST,
    WORKLOAD,
    Running,
    World,
    answered,
    as_uid,
    ask,
    dial,
    held,
    in_world,
    run,
    send_udp,
    served,
)

from supervisor.fence.names import TABLE
from supervisor.fence.setup import install_pod_fence
from supervisor.kernel import nflog, nftables


@pytest.mark.parametrize(
    ("address", "listener"),
    [
        ("203.0.113.5", "capture4"),
        (OUTSIDE_V4, "capture4"),
        ("198.18.0.9", "capture4"),
        ("2001:db8::5", "capture6"),
        ("fdc6:5e1f:9d07::9", "capture6"),
    ],
)
def test_tcp_of_the_workload_goes_to_egress_with_its_destination(address, listener):
    def work(world, fence):
        return served(fence, listener, Running(WORKLOAD, dial(address, 5432)))

    assert in_world(work) == ((address, 5432), b"HELLO")


@pytest.mark.parametrize(
    ("resolver", "listener"),
    [("8.8.8.8", "dns_udp4"), ("127.0.0.11", "dns_udp4"), ("2001:4860:4860::8888", "dns_udp6")],
)
def test_dns_to_any_resolver_is_answered_by_egress_as_if_by_that_resolver(resolver, listener):
    def work(world, fence):
        with held(fence, listener) as dns:
            return answered(dns, Running(WORKLOAD, ask(resolver)))

    assert in_world(work) == b"somebody answers question"


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("resolver", ["8.8.8.8", "127.0.0.11", "2001:4860:4860::8888"])
def test_a_query_while_nobody_serves_is_refused_at_once(resolver, over):
    """In a sidecar pod the workload may outlive the sidecar: its resolver must not wait."""

    def ask():
        family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
        kind = socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM
        with socket.socket(family, kind) as client:
            client.settimeout(5)
            try:
                client.connect((resolver, 53))
                client.send(b"question")
                client.recv(100)
            except OSError as error:
                return type(error)

    def work(world, fence):
        for descriptor in fence.sockets.values():
            os.close(descriptor)
        return Running(WORKLOAD, ask).result()

    assert in_world(work) is ConnectionRefusedError


def test_dns_over_tcp_is_answered_by_egress():
    def work(world, fence):
        return served(fence, "dns_tcp4", Running(WORKLOAD, dial("8.8.8.8", 53)))

    assert in_world(work) == (("8.8.8.8", 53), b"HELLO")


@pytest.mark.parametrize(("address", "port"), [(OUTSIDE_V4, 8443), (OUTSIDE_V6, 8443)])
def test_egress_alone_reaches_the_outside(address, port):
    def work(world, fence):
        with world.listener(address, port) as server:
            client = Running(EGRESS, dial(address, port))
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(accepted.recv(100))
            return client.result()

    assert in_world(work) == b"hello"


RAW_TCP = {"raw tcp": {"kind": socket.SOCK_RAW, "protocol": socket.IPPROTO_TCP, "port": 0}}
TRIED = {**ATTEMPTS, **RAW_TCP}


@pytest.mark.parametrize("address", [OUTSIDE_V4, OUTSIDE_V6, "198.18.0.9", "fdc6:5e1f:9d07::9"])
@pytest.mark.parametrize("attempt", TRIED)
def test_nothing_else_leaves_not_even_from_root(attempt, address):
    def work(world, fence):
        refusal = send_to(address, **TRIED[attempt])
        with held(fence, "nflog") as log:
            return refusal, nflog.receive(log)[0].prefix

    refusal, prefix = in_world(work)

    assert refusal in REFUSALS
    assert prefix.startswith("blocked out")


def test_nobody_outside_gets_in():
    def work(world, fence):
        with (
            socket.create_server(("0.0.0.0", 4000)) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            udp.bind(("0.0.0.0", 4000))
            udp.settimeout(0.5)
            with world.being_outside():
                refusals = [
                    send_to(POD_V4, kind=kind, port=port, patience_s=0.5)
                    for kind, port in (
                        (socket.SOCK_STREAM, 4000),
                        (socket.SOCK_DGRAM, 4000),
                        (socket.SOCK_STREAM, 61001),
                        (socket.SOCK_STREAM, 61080),
                    )
                ]
            with pytest.raises(TimeoutError):
                udp.recv(10)
            tcp.settimeout(0)
            with pytest.raises(BlockingIOError):
                tcp.accept()
        with nftables.open_socket() as channel:
            return refusals, nftables.counters(channel, TABLE)["blocked in"]

    refusals, counted = in_world(work)

    assert [refusals[0], refusals[2], refusals[3]] == [-1, -1, -1]
    assert counted >= 4


def udp_from(port, payload):
    def work():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("0.0.0.0", port))
            client.settimeout(1)
            client.connect((OUTSIDE_V4, 5353))
            client.send(payload)
            return client.recv(100)

    return work


def test_a_udp_port_that_egress_used_is_of_no_use_to_the_workload():
    def work(world, fence):
        with world.listener(OUTSIDE_V4, 5353, socket.SOCK_DGRAM) as server:
            client = Running(EGRESS, udp_from(41001, b"egress"))
            first, peer = server.recvfrom(100)
            server.sendto(b"answer", peer)
            answer = client.result()
            with pytest.raises(PermissionError):
                as_uid(WORKLOAD, udp_from(41001, b"workload"))
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.recvfrom(100)
        return first, peer[1], answer

    assert in_world(work) == (b"egress", 41001, b"answer")


def test_a_tcp_port_that_egress_used_is_of_no_use_to_the_workload():
    def from_port(payload):
        def work():
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind((POD_V4, 41002))
                client.settimeout(2)
                client.connect((OUTSIDE_V4, 8443))
                client.sendall(payload)

        return work

    def work(world, fence):
        with world.listener(OUTSIDE_V4, 8443) as server, held(fence, "capture4") as capture:
            as_uid(EGRESS, from_port(b"egress"))
            accepted, _ = server.accept()
            with accepted:
                first = accepted.recv(100)
            as_uid(WORKLOAD, from_port(b"workload"))
            captured, _ = capture.accept()
            with captured:
                second = captured.recv(100)
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.accept()
        return first, second

    assert in_world(work) == (b"egress", b"workload")


def test_the_tail_of_an_upload_arrives_after_egress_closed_its_socket():
    size = 1_500_000

    def upload():
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            client.connect((OUTSIDE_V4, 8443))
            client.sendall(b"x" * size)

    def work(world, fence):
        with world.listener(OUTSIDE_V4, 8443) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            client = Running(EGRESS, upload)
            accepted, _ = server.accept()
            client.result()
            received = 0
            with accepted:
                accepted.settimeout(5)
                while block := accepted.recv(64 << 10):
                    received += len(block)
            return received

    assert in_world(work) == size


def test_answers_about_egress_packets_arrive_so_that_path_mtu_works():
    def work(world, fence):
        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.connect((OUTSIDE_V4, 9))
                client.send(b"nobody listens")
                client.recv(10)

        with pytest.raises(ConnectionRefusedError):
            as_uid(EGRESS, ask)

    in_world(work)


def test_ipv6_survives_an_empty_neighbour_cache_in_both_directions():
    def work(world, fence):
        with world.listener(OUTSIDE_V6, 8443) as server:
            for _ in range(2):
                client = Running(EGRESS, dial(OUTSIDE_V6, 8443))
                accepted, _ = server.accept()
                with accepted:
                    run("ip -6 neigh flush all")
                    with world.being_outside():
                        run("ip -6 neigh flush all")
                    accepted.sendall(accepted.recv(100))
                assert client.result() == b"hello"

    in_world(work)


@pytest.mark.parametrize(
    ("address", "port"), [("127.0.0.1", 61001), ("::1", 61001), ("127.0.0.1", 61053)]
)
def test_dialling_a_capture_port_directly_is_refused(address, port):
    def work(world, fence):
        with pytest.raises(ConnectionRefusedError):
            as_uid(WORKLOAD, dial(address, port))

    in_world(work)


def test_the_proxy_port_is_for_dialling():
    def work(world, fence):
        client = Running(WORKLOAD, dial("127.0.0.1", 61080))
        with held(fence, "proxy4") as proxy:
            accepted, _ = proxy.accept()
        with accepted:
            accepted.sendall(accepted.recv(100))
        return client.result()

    assert in_world(work) == b"hello"


def test_what_another_table_redirects_is_not_accepted_for_that():
    rules = """
    table ip mesh {
      chain out {
        type nat hook output priority -100
        udp dport 999 dnat to 127.0.0.1:7777
        tcp dport 443 dnat to 127.0.0.1:7777
      }
    }"""

    def work(world, fence):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mesh,
            held(fence, "capture4") as capture,
        ):
            mesh.bind(("127.0.0.1", 7777))
            mesh.settimeout(0.3)
            with pytest.raises(PermissionError):
                as_uid(WORKLOAD, lambda: send_udp("203.0.113.5", 999))
            with pytest.raises(TimeoutError):
                mesh.recv(10)
            client = Running(WORKLOAD, dial("203.0.113.5", 443))
            accepted, _ = capture.accept()
            with accepted:
                accepted.sendall(b"egress")
            return fence.report.other_tables, client.result()

    def child():
        world = World()
        subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)
        return work(world, install_pod_fence(REQUEST))

    assert in_child(child, unshare=CLONE_NEWNET) == (("mesh/out",), b"egress")
