"""Read the first flight of a TLS client: which name it asks for, and nothing else.

Why own code: a tunnel that is not inspected must have its server name compared with the name that
was dialled, without taking part in the handshake. The TLS libraries show the name only by
answering the hello, and general parsers accept what a strict reader must refuse (two names, a
repeated extension, trailing bytes). RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301
section 3.1, RFC 8701 (GREASE), RFC 9849 (ECH).

``HelloReader`` takes bytes as they come and answers ``None`` (needs more), ``Hello`` or
``NoHello`` with a reason. It holds at most one unfinished record and one unfinished message.
"""

from dataclasses import dataclass
from enum import Enum

from supervisor.egress.names import canonical_name

# A hello with several post-quantum key shares and a resumption ticket is about 6 KiB.
MAX_HELLO = 16 * 1024
# RFC 8446 section 5.1: a plaintext record carries at most 2^14 bytes.
MAX_RECORD = 1 << 14
# A client splits its hello to fit a segment or to hide from middleboxes: tens of records, never
# one for each byte.
MAX_RECORDS = 64
RECORD_HEADER = 5
MESSAGE_HEADER = 4

_HANDSHAKE_RECORD = 0x16
_CLIENT_HELLO = 1
_EXTENSION_SERVER_NAME = 0
_EXTENSION_ALPN = 16
_EXTENSION_ECH = 0xFE0D
_NAME_TYPE_HOST = 0


class HelloProblem(Enum):
    """Why there is no usable ClientHello; the value is the reason code in events."""

    NOT_TLS = "not-tls"
    SSLV2 = "sslv2"
    TOO_LARGE = "hello-too-large"
    TOO_MANY_RECORDS = "hello-too-fragmented"
    MALFORMED = "hello-malformed"
    DUPLICATE_EXTENSION = "hello-duplicate-extension"
    TWO_NAMES = "hello-two-names"
    BAD_NAME = "hello-bad-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a ClientHello says: the canonical server name if any, ALPN offers, ECH presence."""

    server_name: str | None
    alpn: tuple[bytes, ...]
    ech: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoHello:
    """The bytes are no ClientHello that we accept."""

    problem: HelloProblem


class _HelloError(Exception):
    """Ends parsing from any depth; never leaves this module."""

    def __init__(self, problem: HelloProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


class HelloReader:
    """Feed the client's first bytes; the answer, once there is one, stays the same."""

    __slots__ = ("_answer", "_body", "_raw", "_records")

    def __init__(self) -> None:
        self._raw = bytearray()
        self._body = bytearray()
        self._records = 0
        self._answer: Hello | NoHello | None = None

    def feed(self, data: bytes) -> Hello | NoHello | None:
        """Take ``data`` (in order, any size) and answer, or None while more is needed."""
        if self._answer is None:
            self._raw += data
            try:
                self._answer = self._step()
            except _HelloError as refused:
                self._answer = NoHello(problem=refused.problem)
        return self._answer

    def _step(self) -> Hello | None:
        while True:
            record = self._take_record()
            if record is None:
                return None
            self._records += 1
            if self._records > MAX_RECORDS:
                raise _HelloError(HelloProblem.TOO_MANY_RECORDS)
            self._body += record
            length = _message_length(self._body)
            if length is None or len(self._body) < length:
                continue
            if len(self._body) > length:
                # RFC 8446 section 5.1: nothing of the client's may share the hello's record.
                raise _HelloError(HelloProblem.MALFORMED)
            return _parse_hello(bytes(self._body[MESSAGE_HEADER:]))

    def _take_record(self) -> bytes | None:
        """The payload of the next complete handshake record, removed from the raw bytes."""
        raw = self._raw
        _check_start(raw, first=self._records == 0)
        if len(raw) < RECORD_HEADER:
            return None
        length = int.from_bytes(raw[3:5], "big")
        if not 0 < length <= MAX_RECORD:
            raise _HelloError(HelloProblem.MALFORMED)
        if len(self._body) + length > MAX_HELLO:
            raise _HelloError(HelloProblem.TOO_LARGE)
        end = RECORD_HEADER + length
        if len(raw) < end:
            return None
        payload = bytes(raw[RECORD_HEADER:end])
        del raw[:end]
        return payload


def _check_start(raw: bytearray, *, first: bool) -> None:
    """Refuse as soon as the bytes cannot be the header of a handshake record."""
    wrong = HelloProblem.NOT_TLS if first else HelloProblem.MALFORMED
    if not raw:
        return
    if first and raw[0] & 0x80:
        # SSLv2: two length bytes with the top bit set, then the message type ClientHello.
        if len(raw) >= 3:
            raise _HelloError(HelloProblem.SSLV2 if raw[2] == _CLIENT_HELLO else wrong)
        return
    if raw[0] != _HANDSHAKE_RECORD or (len(raw) >= 2 and raw[1] != 3):
        raise _HelloError(wrong)
    if len(raw) >= 3 and raw[2] > 4:
        raise _HelloError(wrong)


def _message_length(body: bytearray) -> int | None:
    """Length of the handshake message with its header, once the header is there."""
    if body[0] != _CLIENT_HELLO:
        raise _HelloError(HelloProblem.NOT_TLS)
    if len(body) < MESSAGE_HEADER:
        return None
    length = MESSAGE_HEADER + int.from_bytes(body[1:4], "big")
    if length > MAX_HELLO:
        raise _HelloError(HelloProblem.TOO_LARGE)
    return length


class _Cursor:
    """Reads length-prefixed fields; running out of bytes is a malformed hello."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise _HelloError(HelloProblem.MALFORMED)
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int, *, least: int, most: int) -> bytes:
        length = self.number(width)
        if not least <= length <= most:
            raise _HelloError(HelloProblem.MALFORMED)
        return self.take(length)

    def at_end(self) -> bool:
        return self._at == len(self._data)


def _parse_hello(body: bytes) -> Hello:
    cursor = _Cursor(body)
    cursor.take(2 + 32)  # legacy version, random
    cursor.vector(1, least=0, most=32)  # session id
    if len(cursor.vector(2, least=2, most=0xFFFE)) % 2:
        raise _HelloError(HelloProblem.MALFORMED)
    cursor.vector(1, least=1, most=255)  # compression methods
    if cursor.at_end():
        return Hello(server_name=None, alpn=(), ech=False)  # TLS 1.0 without extensions
    extensions = _extensions(cursor.vector(2, least=0, most=0xFFFF))
    if not cursor.at_end():
        raise _HelloError(HelloProblem.MALFORMED)
    name = extensions.get(_EXTENSION_SERVER_NAME)
    offers = extensions.get(_EXTENSION_ALPN)
    return Hello(
        server_name=None if name is None else _server_name(name),
        alpn=() if offers is None else _alpn(offers),
        ech=_EXTENSION_ECH in extensions,
    )


def _extensions(block: bytes) -> dict[int, bytes]:
    """Every extension by number. GREASE values are ordinary unknown numbers here."""
    found: dict[int, bytes] = {}
    cursor = _Cursor(block)
    while not cursor.at_end():
        number = cursor.number(2)
        content = cursor.vector(2, least=0, most=0xFFFF)
        if number in found:
            raise _HelloError(HelloProblem.DUPLICATE_EXTENSION)
        found[number] = content
    return found


def _server_name(content: bytes) -> str:
    """The one host name of the extension in canonical form (RFC 6066 section 3)."""
    outer = _Cursor(content)
    cursor = _Cursor(outer.vector(2, least=1, most=0xFFFF))
    if not outer.at_end() or cursor.number(1) != _NAME_TYPE_HOST:
        raise _HelloError(HelloProblem.MALFORMED)
    raw = cursor.vector(2, least=1, most=0xFFFF)
    if not cursor.at_end():
        raise _HelloError(HelloProblem.TWO_NAMES)
    text = raw.decode("latin-1")
    name = canonical_name(text)
    # A literal address and a trailing dot are forbidden here, and servers differ about them.
    if name is None or text.endswith("."):
        raise _HelloError(HelloProblem.BAD_NAME)
    return name


def _alpn(content: bytes) -> tuple[bytes, ...]:
    outer = _Cursor(content)
    cursor = _Cursor(outer.vector(2, least=2, most=0xFFFF))
    if not outer.at_end():
        raise _HelloError(HelloProblem.MALFORMED)
    offers = []
    while not cursor.at_end():
        offers.append(cursor.vector(1, least=1, most=255))
    return tuple(offers)
