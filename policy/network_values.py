"""Words of the network half that stand for more than their letters: networks and digests."""

import ipaddress
import re

from policy import document_codes as codes
from policy.address import Network, forbidden_allowed_network
from policy.findings import PatternError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def parse_network(text: str) -> Network:
    """One address or network of ``allowed_ips``; raises PatternError, also where it is forbidden.

    Bits behind the prefix are refused: 10.0.0.1/8 is either a slip or means one address.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        network = None
    if network is None or "%" in text:
        message = f"{text[:80]!r} is not an address or network"
        raise PatternError(codes.NETWORK_SYNTAX.name, message, codes.NETWORK_SYNTAX.remedy)
    forbidden = forbidden_allowed_network(network)
    if forbidden is not None:
        raise forbidden
    return network


def parse_digest(text: str) -> str:
    """A SHA-256 digest; raises PatternError."""
    if not _DIGEST.fullmatch(text):
        message = f"{text[:80]!r} is not 64 lower-case hexadecimal digits"
        raise PatternError(codes.DIGEST_SYNTAX.name, message, codes.DIGEST_SYNTAX.remedy)
    return text
