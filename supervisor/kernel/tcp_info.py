"""The states of a TCP connection, and the one that our own end is in: tcp(7), TCP_INFO."""

import socket

# <net/tcp_states.h>
ESTABLISHED = 1
SYN_SENT = 2
CLOSE = 7
CLOSE_WAIT = 8  # the peer sends no more; it may still listen
LISTEN = 10


def tcp_state(connection: socket.SocketType) -> int:
    """One of TCP's states. Raises OSError."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
