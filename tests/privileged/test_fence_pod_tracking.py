"""Egress and the workload use the same source port towards the same resolver, one after the other.

Connection tracking remembers a datagram's ends for half a minute to two after its socket is gone,
and with them how they were rewritten. So whoever comes second must not inherit what the first was
given: a query of egress would be answered by egress itself, with a synthetic address, and a query
of the workload would be refused.
"""

import socket

import pytest
from support.pods import (
    EGRESS,
    OUTSIDE_V4,
    OUTSIDE_V6,
    POD_V4,
    WORKLOAD,
    Running,
    held,
    in_world,
)

PORT = 41053
FAMILIES = [(OUTSIDE_V4, "dns_udp4"), (OUTSIDE_V6, "dns_udp6")]


def ask(resolver):
    """Send a query from PORT, whoever had it before; what comes back."""

    def work():
        family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.bind(("", PORT))
            client.settimeout(5)
            client.connect((resolver, 53))
            client.send(b"question")
            return client.recv(100)

    return work


def answered_by(server, who, uid, resolver):
    """Ask as ``uid``; ``server`` gets the question and answers it. Returns what came back."""
    client = Running(uid, ask(resolver))
    question, asker = server.recvfrom(100)
    server.sendto(who + b" answers " + question, asker)
    return client.result()


@pytest.mark.parametrize(("resolver", "listener"), FAMILIES)
def test_a_port_that_the_workload_asked_from_serves_egress_for_a_query_to_the_same_resolver(
    resolver, listener
):
    def work(world, fence):
        with held(fence, listener) as policy, world.listener(resolver, 53, socket.SOCK_DGRAM) as it:
            return (
                answered_by(policy, b"policy", WORKLOAD, resolver),
                answered_by(it, b"resolver", EGRESS, resolver),
                answered_by(policy, b"policy", WORKLOAD, resolver),
            )

    assert in_world(work) == (
        b"policy answers question", b"resolver answers question", b"policy answers question",
    )  # fmt: skip


@pytest.mark.parametrize(("resolver", "listener"), FAMILIES)
def test_a_port_that_egress_asked_from_serves_the_workload_for_a_query_to_the_same_resolver(
    resolver, listener
):
    def work(world, fence):
        with held(fence, listener) as policy, world.listener(resolver, 53, socket.SOCK_DGRAM) as it:
            return (
                answered_by(it, b"resolver", EGRESS, resolver),
                answered_by(policy, b"policy", WORKLOAD, resolver),
                answered_by(it, b"resolver", EGRESS, resolver),
            )

    assert in_world(work) == (
        b"resolver answers question", b"policy answers question", b"resolver answers question",
    )  # fmt: skip


def test_a_tcp_port_that_the_workload_used_serves_egress_towards_the_same_address():
    """TCP mends itself: a new connection between ends that are closed is tracked anew."""

    def from_port():
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((POD_V4, PORT))
            client.settimeout(5)
            client.connect((OUTSIDE_V4, 8443))
            client.sendall(b"hello")
            return client.recv(100)

    def work(world, fence):
        with world.listener(OUTSIDE_V4, 8443) as server, held(fence, "capture4") as capture:
            answers = []
            for uid, listener in ((WORKLOAD, capture), (EGRESS, server), (WORKLOAD, capture)):
                client = Running(uid, from_port)
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"capture" if listener is capture else b"outside")
                answers.append(client.result())
            return answers

    assert in_world(work) == [b"capture", b"outside", b"capture"]
