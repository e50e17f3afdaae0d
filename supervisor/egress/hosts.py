"""The container's hosts file, read once and strictly (decision 21; hosts(5)).

The engine writes it, an image can bring its own lines, and the workload may own it later: so it is
read before the workload starts, bounded, and a line that is not plainly an address with names is
left out and reported. The file only says which name an address stands for. Whether the name may
be reached, and whether the address may be dialled, policy decides as for any other.
"""

import ipaddress
from dataclasses import dataclass, field

from policy.address import HOST_GATEWAY_NAMES, METADATA
from policy.host import Address
from supervisor.egress.names import canonical_name

# Engines write ten lines; a company's blocklist of 100 000 would be a policy in the wrong place.
MAX_FILE = 256 * 1024
MAX_NAMES = 4096


class HostsError(ValueError):
    """The file as a whole is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """What the file says. ``skipped`` are (line number, why) of what was left out."""

    addresses: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    names: dict[Address, tuple[str, ...]] = field(default_factory=dict)
    skipped: tuple[tuple[int, str], ...] = ()


def parse_hosts(content: bytes) -> Hosts:
    """Read the file's bytes. Raises HostsError where it is too large or is not text."""
    if len(content) > MAX_FILE:
        raise HostsError(f"the hosts file has {len(content)} bytes, at most {MAX_FILE} are read")
    if b"\0" in content:
        raise HostsError("the hosts file is not text")
    addresses: dict[str, list[Address]] = {}
    names: dict[Address, list[str]] = {}
    skipped: list[tuple[int, str]] = []
    for number, line in enumerate(content.decode("latin-1").split("\n"), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        found = _read_line(words)
        if isinstance(found, str):
            skipped.append((number, found))
            continue
        address, canonical = found
        for name in canonical:
            if address not in addresses.setdefault(name, []):
                addresses[name].append(address)
            if name not in names.setdefault(address, []):
                names[address].append(name)
    if len(addresses) > MAX_NAMES:
        raise HostsError(f"the hosts file has {len(addresses)} names, at most {MAX_NAMES} are read")
    return Hosts(
        addresses={name: tuple(found) for name, found in addresses.items()},
        names={address: tuple(found) for address, found in names.items()},
        skipped=tuple(skipped),
    )


def host_gateway(hosts: Hosts) -> Address | None:
    """The link-local address under which the engine offers the host; None where there is not one.

    Only a rule that states one of those names reaches it (policy.address.host_gateway_rule).
    """
    found = {
        address
        for name in HOST_GATEWAY_NAMES
        for address in hosts.addresses.get(name, ())
        if address.is_link_local and address not in METADATA
    }
    return found.pop() if len(found) == 1 else None


def _read_line(words: list[str]) -> tuple[Address, list[str]] | str:
    """One line's address and names, or why it is left out."""
    try:
        address = ipaddress.ip_address(words[0])
    except ValueError:
        return f"not an address: {words[0][:40]!r}"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return f"an address with a zone: {words[0][:60]!r}"
    canonical = [canonical_name(word) for word in words[1:]]
    plain = [name for name in canonical if name is not None]
    if not plain or len(plain) != len(canonical):
        return "not followed by plain host names"
    return address, plain
