"""What the fence blocks, from the kernel to the record."""

import select
import socket

import pytest
from support.fences import WORKLOAD, become, inside, send_to

from supervisor.events.stream import EventStream
from supervisor.fence.setup import create_namespace
from supervisor.monitor.blocked_packets import DATAGRAMS_PER_TURN, BlockedPackets

FOREIGN_V4, FOREIGN_V6 = "198.51.100.7", "2001:db8::7"
PAIRS = [
    (FOREIGN_V4, {"kind": socket.SOCK_DGRAM, "port": 443}, "blocked.quic"),
    (FOREIGN_V6, {"kind": socket.SOCK_DGRAM, "port": 853}, "blocked.other-resolver"),
    (FOREIGN_V6, {"kind": socket.SOCK_DGRAM, "port": 123}, "blocked.udp"),
    (FOREIGN_V6, {"kind": socket.SOCK_STREAM, "port": 22}, "blocked.tcp"),
]


def first(channel: socket.socket) -> dict:
    """The record of the first packet; waits for it (select(2)), the reader itself never does."""
    found = []

    def take(emitted):
        found.append(emitted.record)
        return True

    stream = EventStream(source="monitor", hostname="pod-1", sinks=(take,))
    ready, _, _ = select.select([channel], [], [], 5)
    assert ready
    BlockedPackets(channel, stream.emit).on_readable()
    return found[0]


@pytest.mark.parametrize(("address", "how", "code"), PAIRS)
def test_an_attempt_becomes_a_denial_with_user_target_and_remedy(address, how, code):
    fence = create_namespace(None)

    def work():
        become(WORKLOAD)
        send_to(address, **how)

    inside(fence, work)
    with socket.socket(fileno=fence.sockets["nflog"]) as channel:
        record = first(channel)

    assert record["metadata"]["event_code"] == "attempt.blocked"
    assert record["status_code"] == code
    assert record["actor"]["user"]["uid"] == str(WORKLOAD)
    assert record["dst_endpoint"] == {"ip": address, "port": how["port"]}
    assert record["unmapped"]["remedy"]


def test_ping_is_told_too():
    fence = create_namespace(None)

    inside(
        fence,
        lambda: send_to(FOREIGN_V4, kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP, port=0),
    )
    with socket.socket(fileno=fence.sockets["nflog"]) as channel:
        record = first(channel)

    assert record["status_code"] == "blocked.icmp"
    assert record["connection_info"]["protocol_name"] == "icmp"


def test_a_flood_is_read_in_slices_and_written_within_its_limit():
    fence = create_namespace(None)
    emitted = []

    def work():
        for _ in range(3 * DATAGRAMS_PER_TURN):
            send_to(FOREIGN_V4, kind=socket.SOCK_DGRAM, port=443)

    inside(fence, work)
    with socket.socket(fileno=fence.sockets["nflog"]) as channel:
        reader = BlockedPackets(channel, emitted.append)
        turns = []
        while not turns or turns[-1]:
            before = len(emitted)
            reader.on_readable()
            turns.append(len(emitted) - before)

    assert len(turns) > 1
    assert max(turns) == DATAGRAMS_PER_TURN
    assert {event.why.code for event in emitted} == {"blocked.quic"}
