"""Names as they arrive on the wire: ASCII, and then policy's one canonical form.

A DNS question, SNI and a hosts file carry ASCII; Unicode there is an attempt at a second reading.
"""

from policy.findings import PatternError
from policy.host import canonical_host


def canonical_name(text: str) -> str | None:
    """``text`` in its one spelling, or None where it is an address or no host name at all."""
    if not text.isascii():
        return None
    try:
        host = canonical_host(text)
    except PatternError:
        return None
    return host.text if host.address is None else None
