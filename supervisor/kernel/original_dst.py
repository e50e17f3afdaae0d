"""Where a redirected TCP connection was going: SO_ORIGINAL_DST (<linux/netfilter_ipv4.h>)."""

import socket
from ipaddress import IPv4Address, IPv6Address

from supervisor.kernel.libc import SyscallError

SO_ORIGINAL_DST = 80
_SOCKADDR_IN = 16
_SOCKADDR_IN6 = 28


def original_dst(connection: socket.SocketType) -> tuple[IPv4Address | IPv6Address, int]:
    """Address and port that the client dialled before nftables redirected it to us.

    Raises SyscallError: ENOENT where the connection was not redirected.
    """
    try:
        if connection.family == socket.AF_INET:
            raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, _SOCKADDR_IN)
            return IPv4Address(raw[4:8]), int.from_bytes(raw[2:4], "big")
        raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, _SOCKADDR_IN6)
    except OSError as error:
        raise SyscallError(error.errno or 0, "getsockopt", "SO_ORIGINAL_DST") from None
    return IPv6Address(raw[8:24]), int.from_bytes(raw[2:4], "big")
