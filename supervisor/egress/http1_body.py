"""Where the body of an HTTP/1 message ends, byte by byte, without keeping it (RFC 9112 section 7).

A reader takes what arrived and says which bytes are content, and how many belong to the message.
"""

import re
from typing import Protocol

from supervisor.egress import codes
from supervisor.egress.http1_head import Framing, HeadError

# RFC 9112 sets no limit; nobody sends chunks of 4 GiB.
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
# A size line with the extensions that some servers send.
MAX_SIZE_LINE = 256
# Trailers are read to find the end and not passed on (RFC 9110 section 6.5.1 allows that).
MAX_TRAILERS = 8 * 1024


class Body(Protocol):
    """Reads one body; ``ended`` once its last byte was taken."""

    ended: bool

    def take(self, buffer: bytearray) -> bytes:
        """Remove what belongs to the body from ``buffer``; return the content among it."""


class Counted:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "ended")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = length == 0

    def take(self, buffer: bytearray) -> bytes:
        """See Body."""
        if len(buffer) <= self._left:
            content = bytes(buffer)
            buffer.clear()
        else:
            content = bytes(buffer[: self._left])
            del buffer[: self._left]
        self._left -= len(content)
        self.ended = self._left == 0
        return content


class UntilClose:
    """A body that ends with the connection; whoever reads the socket sets ``ended``."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False

    def take(self, buffer: bytearray) -> bytes:
        """See Body."""
        content = bytes(buffer)
        buffer.clear()
        return content


class ChunkedBody:
    """A chunked body. ``lenient`` tolerates chunk extensions, which servers do send."""

    __slots__ = ("_left", "_lenient", "_state", "_trailers", "ended")

    def __init__(self, *, lenient: bool) -> None:
        self._lenient = lenient
        self._left = 0
        self._state = "size"
        self._trailers = 0
        self.ended = False

    def take(self, buffer: bytearray) -> bytes:
        """See Body. Raises HeadError where the framing is broken."""
        content = []
        while buffer and not self.ended:
            if self._state == "data":
                piece = bytes(buffer[: self._left])
                del buffer[: len(piece)]
                self._left -= len(piece)
                content.append(piece)
                if not self._left:
                    self._state = "data-end"
            elif not self._line(buffer):
                break
        return b"".join(content)

    def _line(self, buffer: bytearray) -> bool:
        """Take one line of the framing; False while it is incomplete."""
        end = buffer.find(b"\n")
        limit = MAX_TRAILERS - self._trailers if self._state == "trailers" else MAX_SIZE_LINE
        if (len(buffer) if end < 0 else end) > limit:
            raise HeadError(codes.HTTP_FRAMING, "a line of the chunked framing is too long")
        if end < 0:
            return False
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise HeadError(codes.HTTP_FRAMING, "a line of the chunked framing ends with LF alone")
        self._take_line(line[:-2])
        return True

    def _take_line(self, line: bytes) -> None:
        if self._state == "size":
            size, _, extension = line.partition(b";")
            if not _SIZE.fullmatch(size) or (not self._lenient and len(size) != len(line)):
                raise HeadError(codes.HTTP_FRAMING, f"not a chunk size: {line[:40]!r}")
            if b"\0" in extension:
                raise HeadError(codes.HTTP_FRAMING, "a control character in a chunk extension")
            self._left = int(size, 16)
            self._state = "data" if self._left else "trailers"
        elif self._state == "data-end":
            if line:
                raise HeadError(codes.HTTP_FRAMING, "a chunk is longer than its size says")
            self._state = "size"
        else:
            self._trailers += len(line) + 2
            self.ended = not line


def body_reader(framing: Framing, *, lenient: bool) -> Body:
    """The reader for ``framing``."""
    if isinstance(framing, int):
        return Counted(framing)
    return ChunkedBody(lenient=lenient) if framing == "chunked" else UntilClose()


def chunk(content: bytes) -> bytes:
    """``content`` as one chunk; empty content is no chunk (an empty one would end the body)."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


LAST_CHUNK = b"0\r\n\r\n"
