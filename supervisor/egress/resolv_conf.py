"""Which name servers the container uses (resolv.conf(5)), as far as egress needs to know.

Search lists and ndots are the workload's resolver's business: egress asks for absolute names only.
"""

import ipaddress
from dataclasses import dataclass

from policy.host import Address

# glibc reads three name servers (MAXNS).
MAX_SERVERS = 3
MAX_FILE = 64 * 1024
# The defaults and upper bounds of resolv.conf(5).
TIMEOUT_S, MAX_TIMEOUT_S = 5, 30
ATTEMPTS, MAX_ATTEMPTS = 2, 5


class ResolvConfError(ValueError):
    """The file names no server that can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """Servers in their order; seconds to wait for each answer, rounds through the list."""

    servers: tuple[Address, ...]
    timeout_s: int = TIMEOUT_S
    attempts: int = ATTEMPTS


def parse_resolv_conf(content: bytes) -> ResolvConf:
    """Read the file's bytes; raises ResolvConfError. Unknown lines and options are ignored."""
    if len(content) > MAX_FILE:
        raise ResolvConfError(f"resolv.conf has {len(content)} bytes, at most {MAX_FILE} are read")
    servers: list[Address] = []
    options = {"timeout": TIMEOUT_S, "attempts": ATTEMPTS}
    for line in content.decode("latin-1").splitlines():
        if line.startswith(("#", ";")):
            continue
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(_server(words[1]))
        elif words[:1] == ["options"]:
            _read_options(words[1:], options)
    if not servers:
        raise ResolvConfError("resolv.conf names no server")
    return ResolvConf(
        servers=tuple(servers[:MAX_SERVERS]),
        timeout_s=min(max(options["timeout"], 1), MAX_TIMEOUT_S),
        attempts=min(max(options["attempts"], 1), MAX_ATTEMPTS),
    )


def parse_servers(text: str) -> ResolvConf:
    """Read a comma-separated list of addresses that takes the file's place; raises ResolvConfError."""
    words = [word.strip() for word in text.split(",")]
    if len(words) > MAX_SERVERS:
        raise ResolvConfError(f"{len(words)} name servers, at most {MAX_SERVERS}")
    return ResolvConf(servers=tuple(_server(word) for word in words))


def _server(word: str) -> Address:
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        raise ResolvConfError(f"not an address: nameserver {word[:40]!r}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ResolvConfError(f"a link-local server with a zone is not supported: {word[:60]!r}")
    return address


def _read_options(words: list[str], options: dict[str, int]) -> None:
    for word in words:
        name, _, value = word.partition(":")
        if name in options and value.isascii() and value.isdigit() and len(value) < 6:
            options[name] = int(value)
