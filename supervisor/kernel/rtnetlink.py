"""Interfaces, addresses and routes of the current network namespace.

Only what a fence needs: bring loopback up, put an address on it, route a network to ourselves,
and list which interfaces there are. Sources: rtnetlink(7), include/uapi/linux/rtnetlink.h.
"""

import errno
import socket
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_interface,
    ip_network,
)
from typing import NamedTuple

from supervisor.kernel.codec import Message, ifaddrmsg, link_messages, netlink, rtmsg
from supervisor.kernel.netlink import (
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkSocket,
    Request,
)
from supervisor.kernel.ruleset import Network

RTM_NEWLINK = 16
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_GETROUTE = 26

IFF_UP = 0x1
IFA_F_NODAD = 0x02
RT_SCOPE_HOST = 254
RT_TABLE_LOCAL = 255
RTPROT_STATIC = 4
RTN_LOCAL = 2
LOOPBACK = "lo"

NEW = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL


class _LinkFlags(netlink.nlmsg):  # type: ignore[misc]
    """``struct ifinfomsg`` alone: pyroute2's own class costs 8 ms for attributes we do not set."""

    fields = (
        ("family", "B"),
        ("pad", "B"),
        ("type", "H"),
        ("index", "i"),
        ("flags", "I"),
        ("change", "I"),
    )


class Link(NamedTuple):
    """An interface; ``kind`` is what made it (``veth``, ``bridge``, …), None for hardware and lo."""

    name: str
    kind: str | None
    up: bool


def open_socket() -> NetlinkSocket:
    """A netlink socket for the functions below."""
    return NetlinkSocket.open(NETLINK_ROUTE)


def loopback_up(channel: NetlinkSocket) -> None:
    """Bring ``lo`` up; the kernel gives it 127.0.0.1/8 and, with IPv6, ::1. Raises NetlinkError."""
    message = _LinkFlags()
    message["index"] = _loopback_index()
    message["flags"] = message["change"] = IFF_UP
    channel.request(_request(message, RTM_NEWLINK, NLM_F_ACK, "link lo up"))


def add_address(channel: NetlinkSocket, address: IPv4Interface | IPv6Interface) -> None:
    """Put an address on ``lo``, usable at once (no duplicate detection); one that is already
    there is left. Raises NetlinkError."""
    message = ifaddrmsg.ifaddrmsg()
    message["family"] = _family(address)
    message["prefixlen"] = address.network.prefixlen
    message["index"] = _loopback_index()
    message["scope"] = 0
    message["flags"] = IFA_F_NODAD
    message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    _add(channel, _request(message, RTM_NEWADDR, NEW, f"address {address} on lo"))


def add_local_route(
    channel: NetlinkSocket, network: Network, source: IPv4Address | IPv6Address
) -> None:
    """Make every address of ``network`` an address of this namespace (``ip route add local``);
    what is sent there without a source gets ``source``. Raises NetlinkError."""
    message = rtmsg.rtmsg()
    message["family"] = _family(network)
    message["dst_len"] = network.prefixlen
    message["table"] = RT_TABLE_LOCAL
    message["proto"] = RTPROT_STATIC
    message["scope"] = RT_SCOPE_HOST
    message["type"] = RTN_LOCAL
    message["attrs"] = [("RTA_OIF", _loopback_index()), ("RTA_PREFSRC", str(source))]
    if network.prefixlen:
        message["attrs"].append(("RTA_DST", str(network.network_address)))
    _add(channel, _request(message, RTM_NEWROUTE, NEW, f"local route {network}"))


def active_interfaces(channel: NetlinkSocket) -> tuple[str, ...]:
    """Names of the interfaces of this namespace that are up.

    Those that are down do not count: a kernel with tunnel modules loaded puts a lifeless
    ``tunl0`` or ``sit0`` into every namespace. Raises NetlinkError.
    """
    message = _LinkFlags()
    answers = channel.dump(_request(message, RTM_GETLINK, NLM_F_DUMP, "list of links"))
    found = [_decoded(_LinkFlags, answer) for answer in answers]
    return tuple(socket.if_indextoname(link["index"]) for link in found if link["flags"] & IFF_UP)


def links(channel: NetlinkSocket) -> tuple[Link, ...]:
    """All interfaces of this namespace. Raises NetlinkError."""
    messages = link_messages()
    request = _request(messages.ifinfmsg(), RTM_GETLINK, NLM_F_DUMP, "list of links")
    return tuple(_link(_decoded(messages.ifinfmsg, answer)) for answer in channel.dump(request))


def addresses(channel: NetlinkSocket) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """All addresses of all interfaces of this namespace. Raises NetlinkError."""
    request = _request(ifaddrmsg.ifaddrmsg(), RTM_GETADDR, NLM_F_DUMP, "list of addresses")
    found = [_decoded(ifaddrmsg.ifaddrmsg, answer) for answer in channel.dump(request)]
    return tuple(ip_interface(f"{_local(message)}/{message['prefixlen']}") for message in found)


def routes(channel: NetlinkSocket) -> tuple[Network, ...]:
    """Destinations of all routes of all tables but the default route's. Raises NetlinkError."""
    request = _request(rtmsg.rtmsg(), RTM_GETROUTE, NLM_F_DUMP, "list of routes")
    found = [_decoded(rtmsg.rtmsg, answer) for answer in channel.dump(request)]
    return tuple(
        ip_network(f"{message.get_attr('RTA_DST')}/{message['dst_len']}")
        for message in found
        if message["dst_len"] and message["family"] in (socket.AF_INET, socket.AF_INET6)
    )


def _link(message: Message) -> Link:
    information = message.get_attr("IFLA_LINKINFO")
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        kind=None if information is None else information.get_attr("IFLA_INFO_KIND"),
        up=bool(message["flags"] & IFF_UP),
    )


def _local(message: Message) -> str:
    # Point-to-point links carry the peer in IFA_ADDRESS; IPv6 has no IFA_LOCAL otherwise.
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _decoded(kind: type[Message], answer: bytes) -> Message:
    message = kind(answer)
    message.decode()
    return message


def _loopback_index() -> int:
    return socket.if_nametoindex(LOOPBACK)


def _family(value: Network | IPv4Interface | IPv6Interface) -> int:
    return socket.AF_INET if value.version == 4 else socket.AF_INET6


def _add(channel: NetlinkSocket, request: Request) -> None:
    try:
        channel.request(request)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise


def _request(message: Message, kind: int, flags: int, what: str) -> Request:
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message.encode()
    return Request(bytes(message.data), what)
