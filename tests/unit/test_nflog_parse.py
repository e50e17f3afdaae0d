import struct
from ipaddress import ip_address

import pytest

from supervisor.kernel.nflog import Blocked, parse

PACKET, PAYLOAD, PREFIX, UID, GID = 0x400, 9, 10, 11, 14


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(*attributes: bytes, kind: int = PACKET) -> bytes:
    body = b"\x02\0\0\0" + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def ipv4(protocol: int, rest: bytes, *, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 1, fragment, 64, protocol, 0)
    return head + bytes([192, 0, 2, 1]) + bytes([198, 51, 100, 7]) + rest


def ipv6(first: int, rest: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(rest), first, 64)
    return head + bytes(16) + ip_address("2001:db8::7").packed + rest


PORTS = struct.pack("!HH", 40000, 443)


def test_prefix_user_and_target_are_read():
    data = message(
        attribute(PREFIX, b"blocked out\0"),
        attribute(UID, struct.pack("!I", 2001)),
        attribute(GID, struct.pack("!I", 2002)),
        attribute(PAYLOAD, ipv4(6, PORTS)),
    )

    assert parse(data) == (Blocked("blocked out", 2001, 2002, 6, ip_address("198.51.100.7"), 443),)


def test_several_packets_in_one_datagram():
    data = message(attribute(PAYLOAD, ipv4(17, PORTS))) + message(
        attribute(PAYLOAD, ipv6(6, PORTS))
    )

    assert [item.protocol for item in parse(data)] == [17, 6]


@pytest.mark.parametrize(
    ("packet", "protocol", "port"),
    [
        (ipv4(1, bytes(8)), 1, None),
        (ipv4(17, PORTS, fragment=100), 17, None),
        (ipv4(17, PORTS[:2]), 17, None),
        (ipv6(0, bytes([58, 0]) + bytes(6) + bytes(8)), 58, None),
        (ipv6(60, bytes([17, 0]) + bytes(6) + PORTS), 17, 443),
        (ipv6(44, bytes([17, 0, 0, 0, 0, 0, 0, 1]) + PORTS), 17, 443),
        (ipv6(44, bytes([17, 0, 0, 8, 0, 0, 0, 1]) + PORTS), 17, None),
        (ipv6(43, bytes([6, 255]) + bytes(6)), 6, None),
    ],
)
def test_ports_are_read_only_where_they_are(packet, protocol, port):
    (blocked,) = parse(message(attribute(PAYLOAD, packet)))

    assert (blocked.protocol, blocked.port) == (protocol, port)
    assert blocked.uid is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(15),
        struct.pack("=IHHII", 8, PACKET, 0, 0, 0),
        message(attribute(PAYLOAD, b"")),
        message(attribute(PAYLOAD, ipv4(6, b"")[:19])),
        message(attribute(PAYLOAD, ipv6(6, b"")[:39])),
        message(struct.pack("=HH", 0, PAYLOAD)),
        message(attribute(PAYLOAD, ipv4(6, PORTS)), kind=2),
    ],
)
def test_what_is_no_whole_packet_is_passed_over(data):
    assert parse(data) == ()
