"""The one spelling of a DNS name in egress: ASCII, lower case, no trailing dot.

Every name that arrives (a DNS question, a CONNECT target, a Host header, SNI, a hosts file) goes
through here before it is compared, decided or resolved, so that no two places can read it
differently. Unicode is refused: a client that means an internationalised name sends its A-label.
"""

import re

# RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text.
MAX_NAME = 253
# RFC 1123 section 2.1 letters, digits, hyphen; the underscore is not a host name character, but
# real buckets and service names carry it and it cannot confuse a comparison.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
# WHATWG "ends in a number": a last label like this makes clients read the whole as IPv4.
_NUMERIC_LAST = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)", re.ASCII)


def canonical_name(text: str) -> str | None:
    """``text`` in its one spelling, or None where it is no DNS name.

    A single trailing dot is dropped. Anything that a resolver could read as an IPv4 address in
    disguise (``127.1``, ``0x7f.1``, ``2130706433``) is no name.
    """
    name = text.removesuffix(".")
    if len(name) > MAX_NAME or not name.isascii():
        return None
    name = name.lower()
    if not _NAME.fullmatch(name) or _NUMERIC_LAST.fullmatch(name):
        return None
    return name
