"""Where records go: a log stream, another process' socket. None of them waits.

A log that nobody reads must not stop egress, nor the monitor: what does not fit is refused and
shows as a gap in the numbers.
"""

import os
import select
import socket

from supervisor.events.frames import Frame, encode
from supervisor.events.stream import Emitted


class LogSink:
    """Lines on a descriptor, JSON or readable; records below ``least`` are not for this log."""

    def __init__(self, descriptor: int, *, form: str, least: int = 0) -> None:
        self.least = least
        self._descriptor = descriptor
        self._as_json = form == "json"
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def __call__(self, emitted: Emitted) -> bool:
        """See Sink. A pipe that polls as writable takes PIPE_BUF bytes at once: pipe(7), poll(2).

        The descriptor is shared with the workload, so it cannot be made non-blocking; a longer
        line (a record with many long names) may wait for the log's reader.
        """
        if emitted.record["severity_id"] < self.least:
            return True
        if not self._poll.poll(0):
            return False
        line = emitted.json if self._as_json else emitted.text
        try:
            os.write(self._descriptor, line + b"\n")
        except (BrokenPipeError, BlockingIOError):
            return False
        return True


class SocketSink:
    """Frames on a SOCK_SEQPACKET socket: from egress to the monitor's ring."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.setblocking(False)

    def __call__(self, emitted: Emitted) -> bool:
        """See Sink."""
        frame = Frame(emitted.lane, emitted.sequence, emitted.json)
        try:
            self._channel.send(encode(frame))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True
