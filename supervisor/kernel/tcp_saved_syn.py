"""What the first packet of an accepted connection said: TCP_SAVE_SYN, TCP_SAVED_SYN (Linux 4.2).

tcp(7) does not have them; net/ipv4/tcp.c, include/uapi/linux/tcp.h.
"""

import socket
import struct

TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28
# An IPv4 header has 60 bytes at most, that of IPv6 40, and TCP's 60. More is in front of TCP only
# where extension headers are, and of those we read nothing.
MAX_HEADERS = 120
IPV6_HEADER, IPV6_NEXT_HEADER = 40, 6
# RFC 9293, section 3.1. Without the flag URG, and a SYN has none, the urgent pointer says nothing.
URGENT_POINTER = 18


def save_syn(listener: socket.SocketType) -> None:
    """From now on keep the headers of each connection's first packet. Raises OSError."""
    listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)


def saved_urgent_pointer(connection: socket.SocketType) -> int | None:
    """The urgent pointer of the packet that opened an accepted connection. Can be asked once.

    None where no packet was kept: nobody had asked for it when it came, or the listener was so busy
    that the kernel remembered nothing and sent a cookie. Raises OSError.
    """
    headers = connection.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, MAX_HEADERS)
    if not headers:
        return None
    if headers[0] >> 4 == 4:
        start = (headers[0] & 0xF) * 4
    elif headers[IPV6_NEXT_HEADER] == socket.IPPROTO_TCP:
        start = IPV6_HEADER
    else:
        return None
    (pointer,) = struct.unpack_from("!H", headers, start + URGENT_POINTER)
    return int(pointer)
