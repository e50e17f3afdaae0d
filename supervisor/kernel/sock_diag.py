"""sock_diag: which ports are bound, and who owns one connection. No privilege is needed.

The messages are fixed C structures, so pyroute2 is not needed either. The socket asks about the
network namespace it was made in, wherever it is used.

Sources: sock_diag(7), include/uapi/linux/inet_diag.h.
"""

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from supervisor.kernel.netlink import (
    HEADER,
    NETLINK_SOCK_DIAG,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkSocket,
    Request,
)

SOCK_DIAG_BY_FAMILY = 20
# struct inet_diag_req_v2: family, protocol, extensions, pad, states, socket id
REQUEST = struct.Struct("=BBBxI")
# struct inet_diag_sockid: source port, destination port, source, destination, interface, cookie
SOCKET_ID = struct.Struct("!HH16s16s4s8s")
NO_COOKIE = b"\xff" * 8
# struct inet_diag_msg up to the socket id, and its tail: expires, queues, uid, inode
ANSWER = struct.Struct("=BBBB")
TAIL = struct.Struct("=IIIII")

TCP_CLOSE, TCP_LISTEN = 7, 10
# A listening TCP socket waits in LISTEN; a UDP socket that is bound but not connected in CLOSE.
WAITING = {socket.IPPROTO_TCP: 1 << TCP_LISTEN, socket.IPPROTO_UDP: 1 << TCP_CLOSE}
ANY_STATE = 0xFFFFFFFF

Address = IPv4Address | IPv6Address


class Endpoint(NamedTuple):
    """An address and a port."""

    address: Address
    port: int


class Owner(NamedTuple):
    """The user who made a socket, and its inode number (``socket:[N]`` in /proc/PID/fd)."""

    uid: int
    inode: int


def endpoint(address: str, port: int) -> Endpoint:
    """An endpoint from an address in text."""
    return Endpoint(ip_address(address), port)


def open_socket() -> NetlinkSocket:
    """A socket for the functions below, asking about the current network namespace."""
    return NetlinkSocket.open(NETLINK_SOCK_DIAG)


def waiting_ports(channel: NetlinkSocket, protocol: int) -> frozenset[int]:
    """Ports on which somebody waits (IPPROTO_TCP: listens; IPPROTO_UDP: bound, not connected).

    Raises NetlinkError.
    """
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        identity = SOCKET_ID.pack(0, 0, bytes(16), bytes(16), bytes(4), NO_COOKIE)
        request = _request(family, protocol, WAITING[protocol], identity, NLM_F_DUMP)
        for answer in channel.dump(request):
            source, *_ = SOCKET_ID.unpack_from(answer, HEADER.size + ANSWER.size)
            found.add(source)
    return frozenset(found - {0})


def owner(channel: NetlinkSocket, protocol: int, ours: Endpoint, theirs: Endpoint) -> Owner | None:
    """The owner of exactly one socket, seen from its own side; None when there is none.

    One hash lookup in the kernel, whatever the number of sockets. A connection over an IPv4
    address is found whether its program opened an IPv4 or an IPv6 socket. Raises NetlinkError.
    """
    family = socket.AF_INET if ours.address.version == 4 else socket.AF_INET6
    identity = SOCKET_ID.pack(
        ours.port, theirs.port, _padded(ours), _padded(theirs), bytes(4), NO_COOKIE
    )
    try:
        answer = channel.ask(_request(family, protocol, ANY_STATE, identity, 0))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    *_, uid, inode = TAIL.unpack_from(answer, HEADER.size + ANSWER.size + SOCKET_ID.size)
    return Owner(uid, inode)


def _request(family: int, protocol: int, states: int, identity: bytes, flags: int) -> Request:
    body = REQUEST.pack(family, protocol, 0, states) + identity
    header = HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | flags, 0, 0)
    return Request(header + body, f"sockets of family {family}, protocol {protocol}")


def _padded(endpoint: Endpoint) -> bytes:
    return endpoint.address.packed.ljust(16, b"\0")
