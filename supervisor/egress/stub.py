"""Questions to upstream name servers and what may be believed of their answers (RFC 1035, 5452).

Pure: bytes in, values out. A response counts only if it answers exactly the question that was
asked; of its records only the chain of aliases that starts at the name, and the addresses at its
end. dnspython reads the wire format (bounded against compression loops), never its resolver.
"""

import ipaddress
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from policy.host import Address

RecordType = Literal["A", "AAAA"]

# More than any content network answers with; each one is judged and may be dialled.
MAX_ADDRESSES = 32
# The reference follows eight; chains of content networks have up to five.
MAX_ALIASES = 8
# What we say we can take over UDP; anything longer comes over TCP.
PAYLOAD = 1232
# Within these an answer is remembered: not at all would be slow, longer would outlive a failover.
MIN_TTL_S, MAX_TTL_S = 1, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Addresses of the name, or none if it has none of this type; ``ttl_s`` is clamped."""

    addresses: tuple[Address, ...]
    ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The server says that the name does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncated:
    """The answer did not fit: ask again over TCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Not believed, or the server could not answer: ask another one."""

    why: str


Reading = Found | Missing | Truncated | Unusable


def question(name: str, record_type: RecordType, message_id: int) -> bytes:
    """The query for one absolute, canonical name."""
    query = dns.message.make_query(
        dns.name.from_text(name + "."), record_type, use_edns=0, payload=PAYLOAD, id=message_id
    )
    return query.to_wire()


def read_response(wire: bytes, query: bytes) -> Reading | None:
    """What ``wire`` says about ``query``; None if it is not the answer to it at all.

    None means to keep listening (RFC 5452 section 3: a forged or late packet must not end the
    wait), Unusable to go on to the next server.
    """
    if wire[:2] != query[:2]:
        return None
    asked = dns.message.from_wire(query)
    try:
        response = dns.message.from_wire(wire, ignore_trailing=False)
    except dns.message.Truncated:
        return Truncated()
    except dns.exception.DNSException as error:
        return Unusable(why=f"malformed: {type(error).__name__}")
    if not asked.is_response(response) or not response.question:
        return None
    if response.flags & dns.flags.TC:
        return Truncated()
    if response.rcode() == dns.rcode.NXDOMAIN:
        return Missing()
    if response.rcode() != dns.rcode.NOERROR:
        return Unusable(why=dns.rcode.to_text(response.rcode()))
    return _follow(response, asked.question[0])


def _follow(response: dns.message.Message, asked: dns.rrset.RRset) -> Found | Unusable:
    """From the name along its aliases to the addresses; records about anything else are ignored."""
    by_name = {
        (rrset.name, rrset.rdtype): rrset
        for rrset in response.answer
        if rrset.rdclass == dns.rdataclass.IN
    }
    name, ttl = asked.name, MAX_TTL_S
    for _ in range(MAX_ALIASES + 1):
        found = by_name.get((name, asked.rdtype))
        if found is not None:
            return _addresses(found, min(ttl, found.ttl))
        alias = by_name.get((name, dns.rdatatype.CNAME))
        if alias is None:
            return Found(addresses=(), ttl_s=max(MIN_TTL_S, ttl))
        if len(alias) != 1:
            return Unusable(why="a name with two aliases")
        name, ttl = alias[0].target, min(ttl, alias.ttl)
    return Unusable(why=f"more than {MAX_ALIASES} aliases")


def _addresses(found: dns.rrset.RRset, ttl: int) -> Found | Unusable:
    if len(found) > MAX_ADDRESSES:
        return Unusable(why=f"{len(found)} addresses, at most {MAX_ADDRESSES}")
    addresses = tuple(ipaddress.ip_address(record.address) for record in found)
    return Found(addresses=addresses, ttl_s=max(MIN_TTL_S, ttl))
