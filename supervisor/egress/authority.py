"""Host and port of a request, read in exactly one way (attacks G1 to G5)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from policy.findings import PatternError
from policy.host import Address, canonical_host

HTTP_PORT = 80
# Programs talk to few hosts; a wrong answer is impossible because the text is the whole key.
REMEMBERED = 1024
_SPLIT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", re.ASCII)


class Authority(NamedTuple):
    """A destination: canonical name, or literal address in canonical text, and port."""

    host: str
    port: int
    literal: Address | None = None

    def __str__(self) -> str:
        """As it stands in a CONNECT line."""
        return f"{self._bracketed()}:{self.port}"

    def for_host_header(self) -> str:
        """As it stands in Host: the port only where it is not HTTP's own."""
        return self._bracketed() if self.port == HTTP_PORT else str(self)

    def _bracketed(self) -> str:
        return f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host


@lru_cache(REMEMBERED)
def parse_authority(text: str, default_port: int | None) -> Authority | None:
    """``host[:port]`` as a value, or None; without ``default_port`` the port must be there.

    ASCII only; no user information, no zone, no address in any but its canonical spelling.
    """
    parts = _SPLIT.fullmatch(text)
    if parts is None or not text.isascii():
        return None
    port = default_port if parts[2] is None else int(parts[2])
    if port is None or not 0 < port < 65536:
        return None
    try:
        host = canonical_host(parts[1])
    except PatternError:
        return None
    return Authority(host=host.text, port=port, literal=host.address)
