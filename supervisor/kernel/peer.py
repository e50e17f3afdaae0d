"""Who is at the other end of a unix socket, and a handle on that very process.

Sources: unix(7) SO_PEERCRED; include/uapi/asm-generic/socket.h SO_PEERPIDFD (Linux 6.5);
pidfd_open(2), pidfd_send_signal(2).
"""

import os
import select
import signal
import socket
import struct
from typing import NamedTuple

SO_PEERPIDFD = 77
_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """As it was when it connected. ``pid`` is 0 where it is not in our PID namespace."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """SO_PEERCRED. Raises OSError."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(data))


def pin(connection: socket.socket) -> int:
    """A pidfd of the process that connected (close-on-exec). Raises OSError.

    It names that process for good, whatever becomes of its number.
    """
    descriptor = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    os.set_inheritable(descriptor, False)
    return descriptor


def is_dead(pidfd: int) -> bool:
    """A pidfd is readable once its process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def kill(pidfd: int) -> None:
    """SIGKILL. Raises OSError: ESRCH where it has ended, EPERM without CAP_KILL."""
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
