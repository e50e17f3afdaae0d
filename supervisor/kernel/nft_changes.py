"""nftables change notifications: which table was changed. Without pyroute2, so that the monitor
can read them.

Joining the group needs CAP_NET_ADMIN; a joined socket keeps delivering after it is dropped.

Source: include/uapi/linux/netfilter/nf_tables.h: in every message that is about something in a
table, the attribute numbered 1 is the table's name.
"""

import socket

from supervisor.kernel.netlink import (
    HEADER,
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    RECEIVE_SIZE,
    NetlinkSocket,
    attributes,
)

# One bit per multicast group, from 1: NFNLGRP_NFTABLES is group 7.
CHANGES_GROUP = 1 << 6
NFT_MSG_NEWGEN = 15  # "a transaction ended", about no table
GENERIC_HEADER_SIZE = 4  # struct nfgenmsg
NAME_ATTRIBUTE = 1


def join() -> socket.socket:
    """A non-blocking socket that hears of every change in this network namespace from now on.

    Raises OSError.
    """
    channel = NetlinkSocket.open(NETLINK_NETFILTER, CHANGES_GROUP)
    channel.socket.settimeout(0)
    return channel.socket


def receive(changes: socket.socket) -> frozenset[str] | None:
    """Names of the tables that one waiting datagram tells of; None when nothing waits.

    Raises OSError; ENOBUFS means that changes were missed, which is as good as a change.
    """
    try:
        data = changes.recv(RECEIVE_SIZE)
    except BlockingIOError:
        return None
    return parse(data)


def parse(data: bytes) -> frozenset[str]:
    """Names of the tables in one datagram of notifications."""
    found = set()
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, start)
        if length < HEADER.size:
            break
        if kind >> 8 == NFNL_SUBSYS_NFTABLES and kind & 0xFF != NFT_MSG_NEWGEN:
            body = data[start + HEADER.size + GENERIC_HEADER_SIZE : start + length]
            name = attributes(body).get(NAME_ATTRIBUTE)
            if name is not None:
                found.add(name.rstrip(b"\0").decode("utf-8", "replace"))
        start += (length + 3) & ~3
    return frozenset(found)
