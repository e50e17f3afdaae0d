"""The pod form: which loopback ports the workload reaches."""

import os
import resource
import socket

import pytest
from support.forked import CLONE_NEWNET, in_child
from support.pods import POD_V4, REQUEST, WORKLOAD, Running, World, as_uid, dial, in_world, send_udp

from supervisor.fence.names import TABLE
from supervisor.fence.request import Loopback
from supervisor.fence.setup import install_pod_fence
from supervisor.kernel import nftables
from supervisor.kernel.ruleset import PortSet


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", POD_V4])
def test_the_workloads_own_servers_work_over_loopback(address):
    def serve():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 8000), family=family) as server:
            client = Running(WORKLOAD, dial(address, 8000)) if os.getuid() == 0 else None
            assert client is None
            with socket.create_connection((address, 8000), timeout=5) as near:
                accepted, _ = server.accept()
                with accepted:
                    near.sendall(b"own")
                    return accepted.recv(10)

    assert in_world(lambda world, fence: as_uid(WORKLOAD, serve)) == b"own"


def test_ports_that_others_had_bound_are_closed_to_the_workload_and_open_to_others():
    def child():
        World()
        with (
            socket.create_server(("127.0.0.1", 9000)) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            udp.bind(("127.0.0.1", 9001))
            report = install_pod_fence(REQUEST).report
            with pytest.raises(ConnectionRefusedError):
                as_uid(WORKLOAD, dial("127.0.0.1", 9000))
            with pytest.raises(PermissionError):
                as_uid(WORKLOAD, lambda: send_udp("127.0.0.1", 9001))
            other = Running(3003, dial("127.0.0.1", 9000))
            accepted, _ = tcp.accept()
            with accepted:
                accepted.sendall(b"other")
            return report.closed_tcp, report.closed_udp, other.result()

    assert in_child(child, unshare=CLONE_NEWNET) == ((9000,), (9001,), b"other")


def test_a_port_that_a_policy_denies_is_closed_and_can_be_opened_live():
    request = REQUEST._replace(loopback=Loopback(denied=frozenset({8100})))

    def work(world, fence):
        with socket.create_server(("127.0.0.1", 8100)):
            with pytest.raises(ConnectionRefusedError):
                as_uid(WORKLOAD, lambda: socket.create_connection(("127.0.0.1", 8100)).close())
            owner = nftables.NetlinkSocket.adopt(fence.sockets["nftables"])
            nftables.remove_ports(owner, TABLE, PortSet(name="closed_tcp", ports=frozenset({8100})))
            as_uid(WORKLOAD, lambda: socket.create_connection(("127.0.0.1", 8100)).close())
            nftables.add_ports(owner, TABLE, PortSet(name="closed_tcp", ports=frozenset({8100})))
            with pytest.raises(ConnectionRefusedError):
                as_uid(WORKLOAD, lambda: socket.create_connection(("127.0.0.1", 8100)).close())

    in_world(work, request)


def test_with_an_allow_list_only_its_ports_are_open_on_loopback():
    request = REQUEST._replace(loopback=Loopback(allowed=frozenset({8200})))

    def work(world, fence):
        with (
            socket.create_server(("127.0.0.1", 8200)) as allowed,
            socket.create_server(("127.0.0.1", 8201)),
        ):
            with pytest.raises(ConnectionRefusedError):
                as_uid(WORKLOAD, dial("127.0.0.1", 8201))
            client = Running(WORKLOAD, dial("127.0.0.1", 8200))
            accepted, _ = allowed.accept()
            with accepted:
                accepted.sendall(b"listed")
            return client.result()

    assert in_world(work, request) == b"listed"


def test_thousands_of_bound_ports_are_all_closed():
    count = 3000

    def child():
        World()
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, count + 500))
        bound = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for port, held in enumerate(bound, start=20000):
            held.bind(("127.0.0.1", port))
        report = install_pod_fence(REQUEST).report
        with nftables.open_socket() as channel:
            ((_, _), (name, ports)) = nftables.read_back(channel, TABLE).sets
        with pytest.raises(PermissionError):
            as_uid(WORKLOAD, lambda: send_udp("127.0.0.1", 20000 + count - 1))
        return name, ports == tuple(range(20000, 20000 + count)), len(report.closed_udp)

    assert in_child(child, unshare=CLONE_NEWNET) == ("closed_udp", True, 500)
