"""What a helper that fails still says to the monitor: one packet of text on its channel.

The monitor takes it for what it is: words of a process that may have been taken over. They are cut
and cleaned like any cause, and decide nothing.
"""

import os

from supervisor.errors import in_short

# Neither a sign of life (b"H") nor the first byte of a record's frame, which is a lane's number.
_MARK = b"!"
MAX_WORDS = 2048  # more than a cause keeps


def say(channel: int, error: BaseException) -> None:
    """Send them over a SOCK_SEQPACKET; for a helper that ends now, whatever comes of it."""
    packet = _MARK + in_short(error).encode("utf-8", "backslashreplace")
    try:
        os.write(channel, packet[:MAX_WORDS])
    except OSError:
        return  # full, or the monitor is gone: that we end, it sees all the same


def heard(packet: bytes) -> str | None:
    """The words in a packet; None where it holds something else."""
    if not packet.startswith(_MARK):
        return None
    return packet[len(_MARK) : MAX_WORDS].decode("utf-8", "replace")
