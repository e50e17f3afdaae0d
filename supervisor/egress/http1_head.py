"""Heads of HTTP/1 messages: bytes to values and back, with no second way to read them.

Why own code: the request that policy sees must be the request that upstream reads. h11 accepts
what we must refuse (Content-Length beside Transfer-Encoding, a bare LF, a folded line) and shows
none of it in its events, so the raw bytes had to be checked beside it anyhow; and it costs six
times as much per request (reference/performance.md section 3). It stays as the oracle of the
tests. RFC 9110 and 9112; the rules that go beyond them stand next to each refusal.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple

from supervisor.egress import codes
from supervisor.errors import Code

# nginx and Apache stop at 8 KiB a line; cookies and tokens together rarely pass this.
MAX_HEAD = 16 * 1024
MAX_HEADERS = 100
MAX_TARGET = 8 * 1024
# What is kept parsed, up to this size each: header blocks, and heads of responses; 1 MiB in all.
REMEMBERED, MAX_REMEMBERED = 256, 1024
# 19 digits are below 2^63; no body is longer.
_LENGTH = re.compile(rb"[0-9]{1,19}")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
# The whole block in one match, so that no fold, no space before a colon, no bare CR or LF and no
# control character has a way through.
_HEADER_LINE = rb"%b:[^\x00-\x08\x0a-\x1f\x7f]*\r\n" % _TOKEN
_HEADER_BLOCK = re.compile(rb"(?:%b)*" % _HEADER_LINE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_TOKEN_ONLY = re.compile(_TOKEN)

# RFC 9110 section 7.6.1, and what proxies were told in the past.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate",
     b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
# A peer may not have these removed by naming them in Connection.
_NOT_NOMINABLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-encoding"})

Chunked = Literal["chunked"]
UntilClose = Literal["until-close"]
# How long a body is: a number of bytes, or how its end is marked.
Framing = int | Chunked | UntilClose


class HeadError(ValueError):
    """A head that is not passed on; ``status`` is what the client is told."""

    def __init__(self, code: Code, cause: str, status: int = 400) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.status = status


class Block(NamedTuple):
    """The header lines of a head: of each its name in lower case and the line as it is passed on.

    ``fields`` has the values by name, repeated ones joined by a comma. ``nominated`` are the options of Connection, ``lengths`` counts Content-Length, and ``passed``
    are the lines that are passed on, each after a line end.
    """

    headers: tuple[tuple[bytes, bytes], ...]
    fields: Mapping[bytes, bytes]
    lengths: int
    nominated: frozenset[bytes]
    passed: bytes


class Request(NamedTuple):
    """One request's head."""

    method: str
    target: str
    minor: int
    block: Block
    framing: Framing
    keep_alive: bool

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """See Block."""
        return self.block.fields


class Response(NamedTuple):
    """One response's head, final or informational."""

    status: int
    reason: bytes
    minor: int
    block: Block
    framing: Framing
    keep_alive: bool


def head_length(buffer: bytearray) -> int | None:
    """Bytes of the complete head at the front of ``buffer``; None while it is unfinished.

    Raises HeadError once no complete head can follow any more.
    """
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end >= 0:
        return end + 4
    # No more bytes can mend a bare LF, so the client learns it now and not after the deadline.
    if _BARE_LF.search(buffer):
        raise HeadError(codes.HTTP_SYNTAX, "a line ends with LF alone")
    if len(buffer) >= MAX_HEAD:
        raise HeadError(codes.HTTP_TOO_LARGE, f"the head is longer than {MAX_HEAD} bytes", 431)
    return None


def parse_request(head: bytes) -> Request:
    """A complete head, final empty line included, as a value. Raises HeadError."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise HeadError(codes.HTTP_SYNTAX, "the request line is not 'METHOD target HTTP/1.x'")
    method, target, major, minor = line.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise HeadError(codes.HTTP_VERSION, "not HTTP/1.0 or HTTP/1.1", 505)
    if len(target) > MAX_TARGET:
        raise HeadError(codes.HTTP_TOO_LARGE, f"the target is longer than {MAX_TARGET} bytes", 414)
    # A client's requests differ in their first line and are alike in the rest.
    block = _block(head[line.end() :], b"host")
    number = int(minor)
    return Request(
        method.decode("ascii"),
        target.decode("ascii"),
        number,
        block,
        _request_framing(block.fields, block.lengths, number),
        _keeps_alive(block.nominated, number),
    )


def parse_response(head: bytes, method: str) -> Response:
    """A complete response head to a ``method`` request. Raises HeadError."""
    parse = _remembered_response if len(head) <= MAX_REMEMBERED else _parse_response
    return parse(head, method)


def _parse_response(head: bytes, method: str) -> Response:
    line = _STATUS_LINE.match(head)
    if line is None:
        raise HeadError(codes.UPSTREAM_INVALID, "the status line is not 'HTTP/1.x NNN reason'")
    block = _block(head[line.end() :], b"")
    minor, status = int(line[1]), int(line[2])
    bodiless = method == "HEAD" or status < 200 or status in (204, 304)
    framing = 0 if bodiless else _response_framing(block.fields, block.lengths)
    keep_alive = framing != "until-close" and _keeps_alive(block.nominated, minor)
    return Response(status, line[3] or b"", minor, block, framing, keep_alive)


# A server's heads to the same question are the same within a second (Date).
_remembered_response = lru_cache(REMEMBERED)(_parse_response)


def _block(head: bytes, besides: bytes) -> Block:
    """``head`` are header lines and the empty one. A peer's heads are alike but for the first line."""
    parse = _remembered_block if len(head) <= MAX_REMEMBERED else _parse_block
    return parse(head, besides)


def _parse_block(head: bytes, besides: bytes) -> Block:
    """All header lines; the one named ``besides`` is not passed on."""
    block = _HEADER_BLOCK.match(head)
    end = len(head) - 2
    if block is None or block.end() != end:
        shown = head[block.end() if block else 0 :][:40].split(b"\r")[0]
        raise HeadError(codes.HTTP_SYNTAX, f"a header line is malformed: {shown!r}")
    headers = []
    fields: dict[bytes, bytes] = {}
    lengths = 0
    for line in head[:end].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        lower = name.lower()
        headers.append((lower, b"%b: %b" % (name, value)))
        if lower in fields:
            if lower == b"host":
                raise HeadError(codes.HTTP_HOST, "two Host headers")
            lengths += lower == b"content-length"
            fields[lower] += b", " + value
        else:
            fields[lower] = value
    if len(headers) > MAX_HEADERS:
        raise HeadError(codes.HTTP_TOO_LARGE, f"more than {MAX_HEADERS} headers", 431)
    lengths += b"content-length" in fields
    nominated = _nominated(fields)
    dropped = HOP_BY_HOP | nominated | {besides}
    passed = b"".join([b"\r\n" + line for name, line in headers if name not in dropped])
    return Block(tuple(headers), MappingProxyType(fields), lengths, nominated, passed)


_remembered_block = lru_cache(REMEMBERED)(_parse_block)

_NOTHING: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive"})


def _nominated(fields: Mapping[bytes, bytes]) -> frozenset[bytes]:
    """The options that Connection names, which a proxy must not pass on."""
    connection = fields.get(b"connection")
    if connection is None:
        return _NOTHING
    if connection in (b"keep-alive", b"Keep-Alive"):
        return _KEEP_ALIVE
    options = frozenset(option.strip(b" \t").lower() for option in connection.split(b",")) - {b""}
    if options & _NOT_NOMINABLE or not all(map(_TOKEN_ONLY.fullmatch, options)):
        raise HeadError(codes.HTTP_FRAMING, "Connection names a header that it must not remove")
    return options


def _keeps_alive(nominated: frozenset[bytes], minor: int) -> bool:
    if b"close" in nominated:
        return False
    return minor == 1 or b"keep-alive" in nominated


def _request_framing(fields: Mapping[bytes, bytes], lengths: int, minor: int) -> Framing:
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return _length(fields, lengths) if lengths else 0
    # Chunked is the one coding that every reader ends at the same byte, and only in HTTP/1.1.
    if coding.lower() != b"chunked" or minor == 0:
        raise HeadError(codes.HTTP_FRAMING, "Transfer-Encoding is not exactly 'chunked'", 501)
    if lengths:
        raise HeadError(codes.HTTP_FRAMING, "Content-Length beside Transfer-Encoding")
    return "chunked"


def _response_framing(fields: Mapping[bytes, bytes], lengths: int) -> Framing:
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or lengths:
            raise HeadError(codes.UPSTREAM_INVALID, "the response's length is ambiguous")
        return "chunked"
    return _length(fields, lengths) if lengths else "until-close"


def _length(fields: Mapping[bytes, bytes], lengths: int) -> int:
    value = fields[b"content-length"]
    if lengths > 1 or not _LENGTH.fullmatch(value):
        raise HeadError(codes.HTTP_FRAMING, "Content-Length is not one decimal number")
    return int(value)


def request_bytes(request: Request, target: str, authority: str, *extra: bytes) -> bytes:
    """The head as we send it upstream: origin-form, our Host, no hop-by-hop header.

    ``extra`` are complete header lines without their line end.
    """
    start = f"{request.method} {target} HTTP/1.1\r\nHost: {authority}".encode("ascii")
    lines = [start + request.block.passed]
    if request.framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
    lines += extra
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_bytes(response: Response, *extra: bytes) -> bytes:
    """The head as we send it to the client: HTTP/1.1, the same status, no hop-by-hop header."""
    start = b"HTTP/1.1 %d %b%b" % (response.status, response.reason, response.block.passed)
    return b"\r\n".join([start, *extra]) + b"\r\n\r\n"
