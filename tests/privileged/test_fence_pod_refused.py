"""The pod form: where it is refused, nothing was changed."""

import os
import socket
import subprocess

import pytest
from support.fences import WORKLOAD, as_user, forbid, keep_capabilities
from support.forked import CLONE_NEWNET, CLONE_NEWUSER, in_child
from support.pods import REQUEST, Running, World, dial, held, run

from supervisor.errors import Refusal
from supervisor.fence import pod_construction, removal  # noqa: F401 - before the uid changes
from supervisor.fence.request import Served
from supervisor.fence.setup import install_pod_fence
from supervisor.fence.surroundings import CAP_NET_ADMIN


def state():
    """Everything that a fence changes, as text."""
    return "".join(
        subprocess.check_output(command.split(), text=True)
        for command in (
            "nft list ruleset",
            "ip -4 route show table local",
            "ip -6 route show table local",
            "ip -oneline -6 address show dev lo",
            "ss -Hlntu",
        )
    )


def refused(prepare, request=REQUEST):
    """The refusal's code and cause, after ``prepare`` in a pod; asserts that nothing changed."""

    def work():
        world = World()
        kept = prepare(world)
        before = state()
        with pytest.raises(Refusal) as refusal:
            install_pod_fence(request)
        assert state() == before
        del kept
        return refusal.value.code.name, refusal.value.cause

    return in_child(work, unshare=CLONE_NEWNET)


def test_a_namespace_with_a_bridge_is_a_hosts():
    code, cause = refused(lambda world: run("ip link add br0 type bridge"))

    assert (code, cause) == ("fence.host-namespace", "it has br0 (bridge)")


def test_it_is_fenced_all_the_same_when_that_is_said():
    def work():
        World()
        run("ip link add br0 type bridge")
        return install_pod_fence(REQUEST._replace(force=True)).report.table_owned

    assert in_child(work, unshare=CLONE_NEWNET)


def test_a_namespace_of_its_own_user_namespace_is_no_hosts():
    def work():
        from support.namespaces import in_own_user_namespace

        def inside():
            run("ip link set lo up")
            run("ip link add br0 type bridge")
            return install_pod_fence(REQUEST).report.table_owned

        return in_own_user_namespace(inside, CLONE_NEWUSER | CLONE_NEWNET)

    assert in_child(work)


def test_an_address_in_the_pool_is_named():
    code, cause = refused(lambda world: run("ip address add 198.18.5.1/24 dev eth0"))

    assert (code, cause) == ("fence.addresses-collide", "address 198.18.5.1/24")


def test_a_route_into_the_pool_is_named():
    code, cause = refused(lambda world: run("ip route add 198.19.0.0/16 via 10.77.0.1"))

    assert (code, cause) == ("fence.addresses-collide", "route 198.19.0.0/16")


def test_a_redirect_that_comes_before_ours_is_named():
    rules = b"table ip mesh { chain out { type nat hook output priority -150; policy accept; }; }"

    code, cause = refused(lambda world: subprocess.run(["nft", "-f", "-"], input=rules, check=True))

    assert (code, cause) == ("fence.redirect-collides", "mesh out (priority -150)")


def test_a_redirect_of_the_old_iptables_comes_after_ours_and_is_named():
    def work():
        World()
        run("iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001")
        fence = install_pod_fence(REQUEST)
        client = Running(REQUEST.workload_uid, dial("203.0.113.5", 443))
        with held(fence, "capture4") as capture:
            accepted, _ = capture.accept()
        with accepted:
            accepted.sendall(b"ours")
        return fence.report.other_tables, client.result()

    assert in_child(work, unshare=CLONE_NEWNET) == (("ip_tables/nat",), b"ours")


@pytest.mark.parametrize(
    ("kind", "port"), [(socket.SOCK_STREAM, 61001), (socket.SOCK_DGRAM, 61053)]
)
def test_a_taken_port_is_named(kind, port):
    def take(world):
        held = socket.socket(socket.AF_INET, kind)
        held.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            held.listen()
        return held

    code, cause = refused(take)

    assert (code, cause) == ("fence.port-taken", f"127.0.0.1 port {port}")


def test_colliding_users_and_ports_are_refused():
    assert (
        refused(lambda world: None, REQUEST._replace(egress_uid=2001))[0] == "fence.users-collide"
    )
    assert (
        refused(lambda world: None, REQUEST._replace(served=Served(15001)))[0]
        == "fence.ports-invalid"
    )


def test_without_net_admin_the_refusal_says_so():
    def work():
        World()
        keep_capabilities({6, 7})
        with pytest.raises(Refusal) as refusal:
            install_pod_fence(REQUEST)
        return refusal.value.code.name

    assert in_child(work, unshare=CLONE_NEWNET) == "fence.no-net-admin"


def test_net_admin_alone_is_enough():
    def work():
        World()
        keep_capabilities({CAP_NET_ADMIN})
        return install_pod_fence(REQUEST).report.table_owned

    assert in_child(work, unshare=CLONE_NEWNET)


def test_a_docker_like_profile_does_not_hinder_it():
    def work():
        World()
        keep_capabilities({CAP_NET_ADMIN})
        forbid("unshare")
        return install_pod_fence(REQUEST).report.table_owned

    assert in_child(work, unshare=CLONE_NEWNET)


def test_the_removal_instructions_remove_all_of_it():
    def work():
        World()
        before = state()
        fence = install_pod_fence(REQUEST)
        for descriptor in fence.sockets.values():
            os.close(descriptor)
        for command in removal.instructions():
            run(command)
        return before, state()

    before, after = in_child(work, unshare=CLONE_NEWNET)

    assert after == before


def test_an_ordinary_user_is_told_which_capability_is_missing():
    def work():
        with pytest.raises(Refusal) as refusal:
            install_pod_fence(REQUEST)
        return refusal.value.cause

    assert "CAP_NET_ADMIN" in in_child(lambda: as_user(WORKLOAD, work), unshare=CLONE_NEWNET)
