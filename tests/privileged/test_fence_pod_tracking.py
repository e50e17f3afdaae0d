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
    answered,
    ask,
    held,
    in_world,
)

PORT = 41053
POLICY, RESOLVER = b"policy answers question", b"resolver answers question"
FAMILIES = [(OUTSIDE_V4, "dns_udp4"), (OUTSIDE_V6, "dns_udp6")]


def asked_as(uid, resolver, server, who):
    """What ``uid`` is told if it asks from PORT, whoever had it before, and ``server`` hears it."""
    return answered(server, Running(uid, ask(resolver, source=PORT)), who)


def in_turn(resolver, listener, *turns):
    """Egress' queries are heard outside, the workload's by policy's DNS; the answers."""

    def work(world, fence):
        with held(fence, listener) as dns, world.listener(resolver, 53, socket.SOCK_DGRAM) as far:
            heard = {WORKLOAD: (dns, b"policy"), EGRESS: (far, b"resolver")}
            return [asked_as(uid, resolver, *heard[uid]) for uid in turns]

    return in_world(work)


@pytest.mark.parametrize(("resolver", "listener"), FAMILIES)
def test_a_port_that_the_workload_asked_from_serves_egress_towards_the_same_resolver(
    resolver, listener
):
    assert in_turn(resolver, listener, WORKLOAD, EGRESS, WORKLOAD) == [POLICY, RESOLVER, POLICY]


@pytest.mark.parametrize(("resolver", "listener"), FAMILIES)
def test_a_port_that_egress_asked_from_serves_the_workload_towards_the_same_resolver(
    resolver, listener
):
    assert in_turn(resolver, listener, EGRESS, WORKLOAD, EGRESS) == [RESOLVER, POLICY, RESOLVER]


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
                    accepted.recv(100)  # unread bytes would end the connection with a reset
                    accepted.sendall(b"capture" if listener is capture else b"outside")
                answers.append(client.result())
            return answers

    assert in_world(work) == [b"capture", b"outside", b"capture"]
