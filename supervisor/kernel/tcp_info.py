"""The state of a TCP connection, as our own end of it knows it: tcp(7), TCP_INFO."""

import socket

# <net/tcp_states.h>
ESTABLISHED = 1
CLOSE_WAIT = 8  # the peer sends no more; it may still listen


def tcp_state(connection: socket.SocketType) -> int:
    """One of TCP's states. Raises OSError."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
