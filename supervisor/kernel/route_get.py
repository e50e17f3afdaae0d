"""How the kernel would route to an address: is it one of this namespace's own (rtnetlink(7))?"""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from supervisor.kernel.libc import SyscallError
from supervisor.kernel.netlink_exact import NetlinkExact

NETLINK_ROUTE = 0
RTM_GETROUTE = 26
RTA_DST = 1
RTN_LOCAL = 2
RTN_UNICAST = 1
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE = 7


def open_route() -> NetlinkExact:
    """A socket to ask with, for the current network namespace."""
    return NetlinkExact(NETLINK_ROUTE)


def is_dialled_outside(route: NetlinkExact, address: IPv4Address | IPv6Address) -> bool:
    """Whether the kernel would send to ``address`` over a wire: neither local nor broadcast.

    An address without a route counts as outside; dialling it fails by itself.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    destination = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), RTA_DST) + address.packed
    bits = len(address.packed) * 8
    try:
        reply = route.ask(
            RTM_GETROUTE, _RTMSG.pack(family, bits, 0, 0, 0, 0, 0, 0, 0) + destination
        )
    except SyscallError:
        return True
    return reply is None or reply[1][_TYPE] == RTN_UNICAST
