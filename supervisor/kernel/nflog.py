"""NFLOG: the heads of packets that a rule logged, with the user who sent them.

Binding needs CAP_NET_ADMIN; a bound socket keeps delivering after the capability is dropped.
Imports nothing of pyroute2 (which has no NFLOG), so the monitor can read from it.

Sources: include/uapi/linux/netfilter/nfnetlink_log.h, net/netfilter/nfnetlink_log.c.
"""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from supervisor.kernel.netlink import (
    HEADER,
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NetlinkSocket,
    Request,
    attribute,
    attributes,
)

NFNL_SUBSYS_ULOG = 4
NFULNL_MSG_PACKET = 0
NFULNL_MSG_CONFIG = 1
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_QTHRESH = 1, 2, 5
NFULNL_CFG_CMD_BIND = 1
NFULNL_COPY_PACKET = 2
NFULA_PAYLOAD, NFULA_PREFIX, NFULA_UID, NFULA_GID = 9, 10, 11, 14

# Enough for IPv6, some extension headers and the ports; never a payload worth reading.
COPY_BYTES = 128
# Read buffer: the kernel packs at most NFULNL_NLBUFSIZ_MAX into one datagram.
RECEIVE_SIZE = 1 << 17
# A burst of refused packets is dropped and counted by the kernel beyond this, not by us in memory.
RECEIVE_BUFFER = 256 << 10

EXTENSION_HEADERS = {0, 43, 60}  # hop-by-hop, routing, destination options
FRAGMENT_HEADER = 44
PORT_PROTOCOLS = {6, 17, 33, 132, 136}  # TCP, UDP, DCCP, SCTP, UDP-Lite: ports come first


class Blocked(NamedTuple):
    """One logged packet. ``uid`` and ``gid`` are None when it had no socket; ``port`` when its
    protocol has none (or the packet is a later fragment)."""

    prefix: str
    uid: int | None
    gid: int | None
    protocol: int
    destination: IPv4Address | IPv6Address
    port: int | None


def bind(group: int) -> socket.socket:
    """A non-blocking socket that receives what rules log to ``group``. Raises NetlinkError."""
    channel = NetlinkSocket.open(NETLINK_NETFILTER)
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    settings = (
        ("bind", NFULA_CFG_CMD, struct.pack("=B", NFULNL_CFG_CMD_BIND)),
        ("copy mode", NFULA_CFG_MODE, struct.pack("!IBB", COPY_BYTES, NFULNL_COPY_PACKET, 0)),
        # Deliver each packet at once: the default waits up to a second to fill a buffer.
        ("threshold", NFULA_CFG_QTHRESH, struct.pack("!I", 1)),
    )
    for name, number, value in settings:
        channel.request(_configure(group, number, value, f"NFLOG group {group}: {name}"))
    channel.socket.settimeout(0)
    return channel.socket


def receive(nflog: socket.socket) -> tuple[Blocked, ...]:
    """The packets of one datagram; empty when nothing waits.

    Raises OSError; ENOBUFS means that the kernel dropped some logs (their packets were judged all
    the same) and that the next call works again.
    """
    try:
        data = nflog.recv(RECEIVE_SIZE)
    except BlockingIOError:
        return ()
    return parse(data)


def parse(data: bytes) -> tuple[Blocked, ...]:
    """The packets in one datagram from the kernel; anything that is no packet is passed over."""
    found = []
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, start)
        if length < HEADER.size:
            break
        if kind == NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET:
            blocked = _packet(attributes(data[start + HEADER.size + 4 : start + length]))
            if blocked is not None:
                found.append(blocked)
        start += (length + 3) & ~3
    return tuple(found)


def _configure(group: int, number: int, value: bytes, what: str) -> Request:
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, socket.htons(group))
    body += attribute(number, value)
    kind = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG
    header = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_ACK, 0, 0)
    return Request(header + body, what)


def _packet(found: dict[int, bytes]) -> Blocked | None:
    payload = found.get(NFULA_PAYLOAD, b"")
    target = _target(payload)
    if target is None:
        return None
    protocol, destination, port = target
    prefix = found.get(NFULA_PREFIX, b"").rstrip(b"\0").decode("utf-8", "replace")
    return Blocked(
        prefix=prefix,
        uid=_number(found.get(NFULA_UID)),
        gid=_number(found.get(NFULA_GID)),
        protocol=protocol,
        destination=destination,
        port=port,
    )


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


def _target(packet: bytes) -> tuple[int, IPv4Address | IPv6Address, int | None] | None:
    """Protocol, destination and port from the head of an IP packet; None when it is cut short."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        first = int.from_bytes(packet[6:8], "big") & 0x1FFF == 0
        start = (packet[0] & 0x0F) * 4
        port = _port(packet, packet[9], start) if first else None
        return packet[9], IPv4Address(packet[16:20]), port
    if version == 6 and len(packet) >= 40:
        protocol, start, first = _skip_extensions(packet)
        port = _port(packet, protocol, start) if first else None
        return protocol, IPv6Address(packet[24:40]), port
    return None


def _skip_extensions(packet: bytes) -> tuple[int, int, bool]:
    """Transport protocol, where it starts, and whether this is no later fragment."""
    protocol, start, first = packet[6], 40, True
    while start + 8 <= len(packet):
        if protocol in EXTENSION_HEADERS:
            protocol, start = packet[start], start + (packet[start + 1] + 1) * 8
        elif protocol == FRAGMENT_HEADER:
            first = int.from_bytes(packet[start + 2 : start + 4], "big") & 0xFFF8 == 0
            protocol, start = packet[start], start + 8
        else:
            break
    return protocol, start, first


def _port(packet: bytes, protocol: int, start: int) -> int | None:
    if protocol not in PORT_PROTOCOLS or len(packet) < start + 4:
        return None
    return int.from_bytes(packet[start + 2 : start + 4], "big")
