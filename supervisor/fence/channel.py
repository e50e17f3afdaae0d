"""The conversation between the monitor and the short-lived child that sets a fence up.

One SOCK_SEQPACKET pair; a message is a few words (NUL between them) and, at the end, descriptors.
Both ends are our own code, in one release; the bounds are against a child gone wrong.
"""

import socket
import time
from collections.abc import Sequence

# The largest message is a refusal with its cause.
MESSAGE_BYTES = 16 << 10
# Two namespaces, four netlink sockets, eight listeners; the kernel's own limit is 253.
DESCRIPTORS = 32
SEPARATOR = "\0"


def send(channel: socket.socket, words: Sequence[str], descriptors: Sequence[int] = ()) -> None:
    """Send one message; a text that is too long is cut. Raises OSError."""
    data = SEPARATOR.join(words).encode("utf-8", "surrogateescape")[:MESSAGE_BYTES]
    socket.send_fds(channel, [data], list(descriptors))


def receive(channel: socket.socket, deadline: float) -> tuple[list[str], list[int]] | None:
    """The next message and its descriptors (close-on-exec); None when the other end is gone.

    ``deadline`` is a time of ``time.monotonic``. Raises TimeoutError, OSError.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    channel.settimeout(left)
    data, descriptors, _, _ = socket.recv_fds(
        channel, MESSAGE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
    )
    if not data:
        return None
    return data.decode("utf-8", "surrogateescape").split(SEPARATOR), descriptors
