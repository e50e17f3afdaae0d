"""Ports on which somebody waits in the current network namespace. No privilege is needed.

A dump by sock_diag(7): its messages are fixed C structures, so pyroute2 is not needed. (Who owns
one connection is another question, with an exact answer: ``sock_diag``.)

Source: include/uapi/linux/inet_diag.h.
"""

import socket
import struct

from supervisor.kernel.netlink import (
    HEADER,
    NETLINK_SOCK_DIAG,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NetlinkSocket,
    Request,
)
from supervisor.kernel.tcp_info import CLOSE, LISTEN

SOCK_DIAG_BY_FAMILY = 20
# struct inet_diag_req_v2: family, protocol, extensions, pad, states, then any socket id (48 bytes)
REQUEST = struct.Struct("=BBBxI48x")
# struct inet_diag_msg starts with family, state, timer, retransmits, then the source port
ANSWER = struct.Struct("!4xH")

# A listening TCP socket waits in LISTEN; a UDP socket that is bound but not connected in CLOSE.
WAITING = {socket.IPPROTO_TCP: 1 << LISTEN, socket.IPPROTO_UDP: 1 << CLOSE}


def open_socket() -> NetlinkSocket:
    """A socket to ask with, about the network namespace that it is made in."""
    return NetlinkSocket.open(NETLINK_SOCK_DIAG)


def waiting_ports(channel: NetlinkSocket, protocol: int) -> frozenset[int]:
    """Ports on which somebody waits (IPPROTO_TCP: listens; IPPROTO_UDP: bound, not connected).

    Raises NetlinkError.
    """
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        body = REQUEST.pack(family, protocol, 0, WAITING[protocol])
        header = HEADER.pack(
            HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0
        )
        what = f"list of sockets of family {family}, protocol {protocol}"
        for answer in channel.dump(Request(header + body, what)):
            (port,) = ANSWER.unpack_from(answer, HEADER.size)
            found.add(port)
    return frozenset(found - {0})
