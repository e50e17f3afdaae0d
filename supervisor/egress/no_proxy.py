"""Which destinations do not go through the corporate proxy: a strict list, and its question. Pure.

    build.example.com      that name, and no other
    .example.com           every name below it, not the name itself
    192.0.2.7, 2001:db8::1 that address
    10.0.0.0/8             every address in it
    name:8443, [::1]:8443  each of the first three on one port only

Programs read the variable NO_PROXY in as many ways as there are programs; here an entry has one
meaning or is refused.
"""

import ipaddress
from dataclasses import dataclass

from policy.address import Network
from policy.findings import PatternError
from policy.host import Address, canonical_host

# A company's list has tens of entries; each one is compared for each connection.
MAX_ENTRIES = 256


class NoProxyError(ValueError):
    """An entry has no meaning here; the text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    text: str  # with a leading dot: everything below
    port: int | None

    def covers(self, name: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return name.endswith(self.text) if self.text.startswith(".") else name == self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    network: Network
    port: int | None

    def covers(self, address: Address, port: int) -> bool:
        return self.port in (None, port) and address in self.network


@dataclass(frozen=True, slots=True, kw_only=True)
class NoProxy:
    """A parsed list."""

    names: tuple[_Name, ...] = ()
    blocks: tuple[_Block, ...] = ()

    def covers_name(self, name: str, port: int) -> bool:
        """Whether a canonical name is reached directly on ``port``."""
        return any(entry.covers(name, port) for entry in self.names)

    def covers_address(self, address: Address, port: int) -> bool:
        """Whether an address is reached directly on ``port``."""
        return any(entry.covers(address, port) for entry in self.blocks)


def parse_no_proxy(text: str) -> NoProxy:
    """Read a comma-separated list. Raises NoProxyError; an empty text is the empty list."""
    words = [word.strip() for word in text.split(",")] if text else []
    if len(words) > MAX_ENTRIES:
        raise NoProxyError(f"{len(words)} entries, at most {MAX_ENTRIES}")
    entries = [_entry(word) for word in words]
    return NoProxy(
        names=tuple(entry for entry in entries if isinstance(entry, _Name)),
        blocks=tuple(entry for entry in entries if isinstance(entry, _Block)),
    )


def _entry(word: str) -> _Name | _Block:
    if not word:
        raise NoProxyError("an empty entry")
    if "*" in word:
        raise NoProxyError(f"{word!r}: there are no stars here; write '.example.com' for all below")
    if "/" in word:
        return _Block(network=_network(word), port=None)
    host, port = _split_port(word)
    below = host.startswith(".")
    try:
        found = canonical_host(host[1:] if below else host)
    except PatternError as error:
        raise NoProxyError(f"{word!r}: {error}") from error
    if found.address is None:
        return _Name(text=f".{found.text}" if below else found.text, port=port)
    if below:
        raise NoProxyError(f"{word!r}: nothing is below an address")
    return _Block(network=ipaddress.ip_network(found.address), port=port)


def _network(word: str) -> Network:
    try:
        return ipaddress.ip_network(word)
    except ValueError as error:
        raise NoProxyError(f"{word!r}: {error}") from error


def _split_port(word: str) -> tuple[str, int | None]:
    """The port behind a name, an IPv4 address or a bracketed IPv6 address."""
    host, colon, port = word.rpartition(":")
    bare_ipv6 = ":" in host and not host.endswith("]")
    if not colon or bare_ipv6 or word.endswith("]"):
        return word, None
    return host, port_number(port, word)


def port_number(text: str, shown: str) -> int:
    """A TCP port in decimal. Raises NoProxyError, which quotes ``shown``."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise NoProxyError(f"{shown!r}: not a port: {text!r}")
    return int(text)
