"""Connections as the C class alone: what socket.socket adds (enumerations, a second way to close)
takes 5 µs of every connection and is never used here.
"""

import socket

Socket = socket.SocketType


def accept(listener: socket.socket) -> tuple[Socket, tuple[str, int]]:
    """A waiting connection, non-blocking, and the address of its other end; accept(2).

    Raises BlockingIOError where none waits, OSError as accept(2) does.
    """
    number, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    accepted = Socket(_FAMILIES[len(address)], socket.SOCK_STREAM, 0, number)
    accepted.setblocking(False)
    return accepted, address[:2]


# Of an address: its length says which family it has (host and port; these, flow and scope).
_FAMILIES = {2: int(socket.AF_INET), 4: int(socket.AF_INET6)}


def new_stream(version: int) -> Socket:
    """An unconnected, non-blocking TCP socket for addresses of IP ``version`` 4 or 6."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return Socket(family, _STREAM)


_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
