"""Policy DNS: one query's bytes in, one response's bytes out; a name is never forwarded.

The table of answers (decisions 19 to 21):

| the question                                | the answer                                     |
|---------------------------------------------|------------------------------------------------|
| A, AAAA for a name that policy allows       | its synthetic address, or the hosts file's     |
| HTTPS, SVCB, TXT, anything else for it      | NOERROR, empty (no key or hint is ever served) |
| any type for a name that policy refuses     | NXDOMAIN with Extended DNS Error 15 (Blocked)  |
| a name that is no host name                 | the same                                       |
| class other than IN, opcode other than QUERY| NOTIMP                                         |
| EDNS version above 0                        | BADVERS                                        |
| not exactly one question, or unparsable     | FORMERR                                        |
| too short for a header, or itself a response| no answer at all                               |

NXDOMAIN and not REFUSED because musl keeps waiting after REFUSED, and because a search list goes
on to its next entry. Sources: RFC 1035, 2308 (negative caching), 6891 (EDNS), 8914 (EDE).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from supervisor.egress.names import canonical_name

# A question is at most 271 bytes; options (cookies, padding to a block of 468) fit well below.
MAX_QUERY = 4096
# DNS flag day 2020: what passes every path without fragments.
EDNS_SIZE = 1232
CLASSIC_SIZE = 512
TCP_SIZE = 65535
# Short, because policy is live: an answer should not outlive its rule by much in a cache.
ANSWER_TTL_S = 30
# A name that becomes allowed should work at the next try of a person.
NEGATIVE_TTL_S = 5
HEADER = 12
_QR = 0x80

_SOA = f". {NEGATIVE_TTL_S} IN SOA policy.invalid. nobody.invalid. 1 60 60 60 {NEGATIVE_TTL_S}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The name is allowed; these addresses stand for it (synthetic, or the hosts file's)."""

    v4: tuple[IPv4Address, ...]
    v6: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The name is refused; ``why`` is one line for the person who runs ``dig``."""

    why: str


class Answerer(Protocol):
    """Who knows what a name may be answered with."""

    def answer(self, name: str, kind: str) -> Addresses | Refused:
        """Decide on one canonical name; ``kind`` is the type that was asked for, to be told."""


def respond(wire: bytes, answerer: Answerer, *, over_tcp: bool) -> bytes | None:
    """The response to the query ``wire``, or None where no answer is owed."""
    if len(wire) < HEADER or wire[2] & _QR:
        return None
    query = _parse(wire)
    if query is None:
        return _bare(wire, dns.rcode.FORMERR)
    response = dns.message.make_response(query, recursion_available=True, our_payload=EDNS_SIZE)
    problem = _problem(query)
    if problem is None:
        _fill(response, query, answerer)
    else:
        response.set_rcode(problem)
    return _fit(response, TCP_SIZE if over_tcp else _room(query))


def _parse(wire: bytes) -> dns.message.Message | None:
    if len(wire) > MAX_QUERY:
        return None
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    if query.opcode() == dns.opcode.QUERY and (
        len(query.question) != 1 or query.answer or query.authority
    ):
        return None
    return query


def _problem(query: dns.message.Message) -> dns.rcode.Rcode | None:
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if query.edns > 0:
        return dns.rcode.BADVERS
    if query.question[0].rdclass != dns.rdataclass.IN:
        return dns.rcode.NOTIMP
    return None


def _fill(response: dns.message.Message, query: dns.message.Message, answerer: Answerer) -> None:
    """Write the answer for the one question into ``response``, in the question's own case."""
    question = query.question[0]
    name = canonical_name(question.name.to_text())
    if name is None:
        answer: Addresses | Refused = Refused(why="not a host name")
    else:
        answer = answerer.answer(name, dns.rdatatype.to_text(question.rdtype))
    match answer:
        case Refused(why=why):
            response.set_rcode(dns.rcode.NXDOMAIN)
            if query.edns >= 0:
                blocked = dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, why)
                response.use_edns(0, payload=EDNS_SIZE, options=[blocked])
        case Addresses(v4=v4, v6=v6):
            texts = _texts(question.rdtype, v4, v6)
            if texts:
                response.answer.append(
                    dns.rrset.from_text_list(
                        question.name, ANSWER_TTL_S, dns.rdataclass.IN, question.rdtype, texts
                    )
                )
                return
    owner, ttl, rdclass, rdtype, text = _SOA.split(" ", 4)
    response.authority.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, text))


def _texts(
    rdtype: dns.rdatatype.RdataType, v4: tuple[IPv4Address, ...], v6: tuple[IPv6Address, ...]
) -> list[str]:
    if rdtype == dns.rdatatype.A:
        return [str(address) for address in v4]
    if rdtype == dns.rdatatype.AAAA:
        return [str(address) for address in v6]
    return []


def _room(query: dns.message.Message) -> int:
    """Bytes that the client can take over UDP (RFC 6891 section 6.2.5)."""
    if query.edns < 0:
        return CLASSIC_SIZE
    return min(max(query.payload, CLASSIC_SIZE), EDNS_SIZE)


def _fit(response: dns.message.Message, room: int) -> bytes:
    try:
        return response.to_wire(max_size=room)
    except dns.exception.TooBig:
        # Whole or not at all: some clients take a part of an answer for the answer.
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=room)


def _bare(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the query's id, opcode and RD, and the error."""
    flags = bytes([_QR | wire[2] & 0x79, _QR | int(rcode)])
    return wire[:2] + flags + bytes(8)


class FrameError(ValueError):
    """A TCP client announced a message that we do not take."""


class TcpFrames:
    """Splits a TCP stream into DNS messages (RFC 1035 section 4.2.2)."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take stream bytes; return the messages that are complete. Raises FrameError."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "big")
            if not HEADER <= length <= MAX_QUERY:
                raise FrameError(f"a message of {length} bytes, not {HEADER} to {MAX_QUERY}")
            if len(self._buffer) < 2 + length:
                break
            messages.append(bytes(self._buffer[2 : 2 + length]))
            del self._buffer[: 2 + length]
        return messages


def framed(message: bytes) -> bytes:
    """``message`` with its length in front, as TCP carries it."""
    return len(message).to_bytes(2, "big") + message
