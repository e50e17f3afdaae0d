"""One response on its way from upstream to the client, re-written as it passes.

The client always gets HTTP/1.1 with a body whose end it can see: a counted body stays counted,
any other is chunked anew (for an HTTP/1.0 client: ended by closing). Informational responses pass
to those who understand them.
"""

from supervisor.egress import codes
from supervisor.egress.http1_body import LAST_CHUNK, Body, Counted, UntilClose, body_reader, chunk
from supervisor.egress.http1_head import (
    HeadError,
    Request,
    Response,
    head_length,
    parse_response,
    response_bytes,
)

# Early hints and progress are a handful; a server that sends more never answers.
MAX_INFORMATIONAL = 16
_SWITCH = (b"Connection: upgrade", b"Upgrade: websocket")


class Answer:
    """The answer to ``request``.

    ``status`` is 0 until the final head was read, and 101 once upstream switched protocols, which
    only a request that asked for it (``upgrade``) may cause.
    """

    __slots__ = (
        "_body", "_chunked", "_informational", "_upgrade", "bytes", "heard", "keeps_client",
        "keeps_upstream", "request", "status",
    )  # fmt: skip

    def __init__(self, request: Request, *, upgrade: bool) -> None:
        self.request = request
        self.status = 0
        self.bytes = 0
        self.heard = False
        self.keeps_client = request.keep_alive
        self.keeps_upstream = False
        self._upgrade = upgrade
        self._informational = 0
        self._chunked = False
        self._body: Body = Counted(1)  # replaced with the final head

    @property
    def ended(self) -> bool:
        """Whether the last byte of the response was taken."""
        return self.status != 0 and self._body.ended

    def take(self, buffer: bytearray, *, request_ended: bool) -> bytes:
        """Remove what is the response's from ``buffer``; return what the client is to be sent.

        A response that comes before the request's end costs both connections their next use.
        Raises HeadError where upstream does not speak unambiguous HTTP/1.
        """
        self.heard = True
        pieces: list[bytes] = []
        while not self.status:
            length = head_length(buffer)
            if length is None:
                return b"".join(pieces)
            head = bytes(buffer[:length])
            del buffer[:length]
            response = parse_response(head, self.request.method)
            pieces.append(self._head(response, request_ended=request_ended))
        if self.status != 101 and not self._body.ended:
            pieces.append(self._content(buffer))
        return b"".join(pieces)

    def upstream_ended(self) -> bytes:
        """Upstream closed in order: the rest for the client. Raises HeadError if that is too early."""
        self.keeps_upstream = False
        if not self.status or not isinstance(self._body, UntilClose):
            raise HeadError(
                codes.UPSTREAM_INVALID, "upstream closed before its answer was complete"
            )
        self._body.ended = True
        return LAST_CHUNK if self._chunked else b""

    def _head(self, response: Response, *, request_ended: bool) -> bytes:
        if response.status == 101:
            if not self._upgrade or not request_ended:
                raise HeadError(codes.UPSTREAM_INVALID, "upstream switched protocols unasked")
            self.status = 101
            return response_bytes(response, *_SWITCH)
        if response.status < 200:
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise HeadError(codes.UPSTREAM_INVALID, "too many informational responses")
            return response_bytes(response) if self.request.minor else b""
        self.status = response.status
        self._body = body_reader(response.framing, lenient=True)
        counted = isinstance(response.framing, int)
        self._chunked = not counted and self.request.minor == 1
        self.keeps_upstream = response.keep_alive and request_ended
        self.keeps_client = self.keeps_client and request_ended and (counted or self._chunked)
        return response_bytes(response, *self._framing_lines())

    def _framing_lines(self) -> list[bytes]:
        lines = [b"Transfer-Encoding: chunked"] if self._chunked else []
        if not self.keeps_client:
            lines.append(b"Connection: close")
        elif not self.request.minor:
            lines.append(b"Connection: keep-alive")
        return lines

    def _content(self, buffer: bytearray) -> bytes:
        content = self._body.take(buffer)
        self.bytes += len(content)
        if not self._chunked:
            return content
        return chunk(content) + (LAST_CHUNK if self._body.ended else b"")
