"""Which sockets may exist: families, types and protocols by allow-list.

The families that no row names are refused, AF_ALG, AF_VSOCK, AF_PACKET, AF_XDP and all that the
kernel loads as a module on first use among them. Types are compared without their flags
(SOCK_NONBLOCK, SOCK_CLOEXEC), as the kernel does.
"""

import errno
from typing import NamedTuple

from supervisor.kernel.seccomp_table.model import ALLOW, Case, Decision, Rule, Switch, refuse

# linux/socket.h, linux/net.h, linux/in.h, linux/netlink.h
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_DCCP = 1, 2, 3, 5, 6
SOCK_TYPE_MASK = 0xF
IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP = 0, 6, 17
IPPROTO_ICMP, IPPROTO_DCCP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_UDPLITE = 1, 33, 58, 132, 136
NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 0, 4, 12
# linux/in.h, linux/in6.h: every option by which a socket becomes a member of an IPv6 group. Changing
# what a member hears takes one that is a member already.
IPPROTO_IPV6 = 41
IPV6_JOIN_GROUP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP = 20, 42, 46

EPERM = refuse(errno.EPERM)
# What a machine says whose interfaces take no groups: programs that announce themselves go on.
NO_DEVICE = refuse(errno.ENODEV)
# What libraries take for "this kernel has no such protocol": Go then listens without MPTCP,
# libaudit goes on without audit. EPERM ends either.
NO_PROTOCOL = refuse(errno.EPROTONOSUPPORT)

_UNIX_TYPES = Case((SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET), ALLOW)


class Protocols(NamedTuple):
    """Socket types of the internet families, and the protocols that each may have."""

    by_type: tuple[tuple[int, tuple[int, ...]], ...]

    def decision(self) -> Decision:
        """Other types are EPERM, other protocols what a kernel without them says."""
        cases = (
            Case((kind,), Switch(2, (Case(protocols, ALLOW),), NO_PROTOCOL))
            for kind, protocols in self.by_type
        )
        return Switch(1, tuple(cases), EPERM, SOCK_TYPE_MASK)


INTERNET = Protocols(
    (
        (SOCK_STREAM, (IPPROTO_IP, IPPROTO_TCP)),
        (SOCK_DGRAM, (IPPROTO_IP, IPPROTO_UDP)),
    )
)
# What the proof sends against the fence alone, without the workload's filter.
INTERNET_OF_THE_PROOF = Protocols(
    (
        (SOCK_STREAM, (IPPROTO_IP, IPPROTO_TCP)),
        (
            SOCK_DGRAM,
            (IPPROTO_IP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_ICMP, IPPROTO_ICMPV6),
        ),
        (SOCK_SEQPACKET, (IPPROTO_SCTP,)),
        (SOCK_DCCP, (IPPROTO_DCCP,)),
    )
)


def socket_decision(netlink_protocols: tuple[int, ...], internet: Protocols = INTERNET) -> Decision:
    """Decide socket(2), with the given protocols of netlink and of the internet families."""
    netlink = Switch(2, (Case(netlink_protocols, ALLOW),), NO_PROTOCOL)
    return Switch(
        0,
        (
            Case((AF_UNIX,), Switch(1, (_UNIX_TYPES,), EPERM, SOCK_TYPE_MASK)),
            Case((AF_INET, AF_INET6), internet.decision()),
            Case((AF_NETLINK,), Switch(1, (Case((SOCK_RAW, SOCK_DGRAM), netlink),), EPERM, 0xF)),
        ),
        EPERM,
    )


SOCKET_RULES = (
    Rule(
        "socket",
        socket_decision((NETLINK_ROUTE,)),
        "unix, TCP, UDP, and the netlink that lists interfaces. No raw and packet sockets, no"
        " MPTCP, UDP-Lite, SCTP or ICMP: the fence drops what is not TCP or DNS",
    ),
    Rule(
        "socketpair",
        Switch(0, (Case((AF_UNIX,), Switch(1, (_UNIX_TYPES,), EPERM, SOCK_TYPE_MASK)),), EPERM),
        "pairs exist in the unix family only; TIPC would be the other one",
    ),
    Rule(
        "setsockopt",
        Switch(
            1,
            (
                Case(
                    (IPPROTO_IPV6,),
                    Switch(
                        2,
                        (
                            Case(
                                (IPV6_JOIN_GROUP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP),
                                NO_DEVICE,
                            ),
                        ),
                        ALLOW,
                    ),
                ),
            ),
            ALLOW,
        ),
        "options of held sockets, but no IPv6 group: the kernel reports groups and sources, which"
        " the program chooses, to everybody on the link (RFC 3810), and IPv6 dies in a fence that"
        " lets no reports through. IPv4's reports are refused there",
    ),
)
