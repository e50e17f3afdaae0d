"""A proxy between egress and the world: where it is, what is said to it, what it may answer. Pure.

Every connection is a tunnel (CONNECT, RFC 9110 section 9.3.6), plain HTTP too. By default it is
asked for by an address that was judged here, so that a name cannot lead inside; by name it is the
proxy that resolves, and the addresses are its to judge.
"""

import ipaddress
import re
from base64 import b64encode
from dataclasses import dataclass, field
from enum import Enum

from policy.findings import PatternError
from policy.host import Address, Host, canonical_host
from supervisor.egress.no_proxy import NoProxy, NoProxyError, port_number

# The whole head of an answer: what proxies send has a few hundred bytes.
MAX_ANSWER = 8 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class UpstreamError(ValueError):
    """A setting has no meaning; the text says why and quotes nothing secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamProxy:
    """The proxy and how it is used.

    ``authorization`` is the value of Proxy-Authorization: never in a repr, an event or a report.
    """

    host: Host
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    by_name: bool = False
    no_proxy: NoProxy = field(default_factory=NoProxy)

    def __str__(self) -> str:
        return authority(self.host.address or self.host.text, self.port)


def parse_proxy(text: str) -> tuple[Host, int]:
    """Read ``http://HOST:PORT``, a final slash allowed. Raises UpstreamError."""
    match = re.fullmatch(r"http://([^/?#\s]+):([^/?#:\s]+)/?", text, re.ASCII)
    if match is None or "@" in text:
        raise UpstreamError("a proxy is written http://HOST:PORT, without user, password or path")
    if ":" in match[1] and not match[1].startswith("["):
        raise UpstreamError("an IPv6 address stands in brackets")
    try:
        return canonical_host(match[1]), port_number(match[2], text)
    except (PatternError, NoProxyError) as error:
        raise UpstreamError(str(error)) from error


def parse_credentials(content: bytes) -> bytes:
    """The value of Proxy-Authorization for a file that holds ``user:password``, one line.

    Basic, RFC 7617: UTF-8, no control characters, no colon in the user. Raises UpstreamError.
    """
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise UpstreamError("the credentials are not UTF-8") from None
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise UpstreamError("the credentials are one line without control characters")
    user, colon, _password = text.partition(":")
    if not user or not colon:
        raise UpstreamError("the credentials are written user:password")
    return b"Basic " + b64encode(line)


def authority(host: Address | str, port: int) -> str:
    """``HOST:PORT`` as in a request's target."""
    return f"[{host}]:{port}" if isinstance(host, ipaddress.IPv6Address) else f"{host}:{port}"


def connect_request(target: str, authorization: bytes | None) -> bytes:
    """The request for a tunnel to ``target``, an authority."""
    lines = [f"CONNECT {target} HTTP/1.1".encode("ascii"), f"Host: {target}".encode("ascii")]
    if authorization is not None:
        lines.append(b"Proxy-Authorization: " + authorization)
    return b"\r\n".join([*lines, b"", b""])


class Answer(Enum):
    """What the bytes that came from the proxy are so far."""

    INCOMPLETE = "incomplete"
    ESTABLISHED = "established"
    DENIED = "denied"  # a whole answer with another status than 200
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """``length`` bytes are the answer's head; what is behind them comes from the destination."""

    answer: Answer
    length: int = 0
    status: int = 0


def read_answer(data: bytes) -> Reading:
    """Read the answer to CONNECT from everything that has come, at least one byte.

    Only status 200 opens a tunnel, and only a head of at most MAX_ANSWER bytes in the strict form of
    RFC 9112 sections 4 and 5 is an answer. Its fields say nothing about a tunnel.
    """
    head, end, _rest = data[:MAX_ANSWER].partition(b"\r\n\r\n")
    if not end:
        possible = b"HTTP/1."
        is_start = data[: len(possible)] == possible[: len(data)]
        if len(data) >= MAX_ANSWER or not is_start:
            return Reading(answer=Answer.INVALID)
        return Reading(answer=Answer.INCOMPLETE)
    first, *fields = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None or not all(_FIELD.fullmatch(line) for line in fields):
        return Reading(answer=Answer.INVALID)
    number = int(status[1])
    answer = Answer.ESTABLISHED if number == 200 else Answer.DENIED
    return Reading(answer=answer, length=len(head) + len(end), status=number)
