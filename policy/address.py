"""Which addresses egress may dial: the special-purpose registries, what hides in them, the rules.

The tables are the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), with
the multicast and deprecated ranges that stand in registries of their own. Longest prefix wins.
Addresses that carry an IPv4 address inside (mapped, translated, tunnelled) are judged by both.
"""

import ipaddress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from policy import codes
from policy.codes import Code
from policy.findings import PatternError
from policy.host import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Class(Enum):
    """What an address is for us."""

    PUBLIC = "public"  # globally reachable
    INTERNAL = "internal"  # reachable where the policy opens it
    NEVER = "never"  # no destination, whatever the policy says


class Block(NamedTuple):
    """One row of a registry."""

    network: Network
    kind: Class
    name: str
    source: str


_P, _I, _N = Class.PUBLIC, Class.INTERNAL, Class.NEVER

_V4_ROWS = (
    ("0.0.0.0/8", _N, "this network", "RFC 791"),
    ("0.0.0.0/32", _N, "this host", "RFC 1122"),
    ("10.0.0.0/8", _I, "private", "RFC 1918"),
    ("100.64.0.0/10", _I, "shared (carrier-grade NAT)", "RFC 6598"),
    ("127.0.0.0/8", _N, "loopback", "RFC 1122"),
    ("169.254.0.0/16", _N, "link-local", "RFC 3927"),
    ("172.16.0.0/12", _I, "private", "RFC 1918"),
    ("192.0.0.0/24", _I, "IETF protocol assignments", "RFC 6890"),
    ("192.0.0.0/29", _I, "IPv4 service continuity", "RFC 7335"),
    ("192.0.0.8/32", _N, "dummy", "RFC 7600"),
    ("192.0.0.9/32", _P, "port control anycast", "RFC 7723"),
    ("192.0.0.10/32", _P, "TURN anycast", "RFC 8155"),
    ("192.0.0.170/32", _N, "NAT64 discovery", "RFC 8880"),
    ("192.0.0.171/32", _N, "NAT64 discovery", "RFC 8880"),
    ("192.0.2.0/24", _I, "documentation", "RFC 5737"),
    ("192.31.196.0/24", _P, "AS112", "RFC 7535"),
    ("192.52.193.0/24", _P, "multicast tunnelling", "RFC 7450"),
    ("192.88.99.0/24", _I, "deprecated 6to4 relay anycast", "RFC 7526"),
    ("192.88.99.2/32", _I, "6a44 relay anycast", "RFC 6751"),
    ("192.168.0.0/16", _I, "private", "RFC 1918"),
    ("192.175.48.0/24", _P, "direct delegation AS112", "RFC 7534"),
    ("198.18.0.0/15", _N, "benchmarking; the supervisor's synthetic addresses", "RFC 2544"),
    ("198.51.100.0/24", _I, "documentation", "RFC 5737"),
    ("203.0.113.0/24", _I, "documentation", "RFC 5737"),
    ("224.0.0.0/4", _N, "multicast", "RFC 5771"),
    ("240.0.0.0/4", _N, "reserved", "RFC 1112"),
    ("255.255.255.255/32", _N, "limited broadcast", "RFC 919"),
)

_V6_ROWS = (
    # What no row below names is not allocated: only 2000::/3 is global unicast.
    ("::/0", _I, "not allocated", "RFC 4291"),
    ("2000::/3", _P, "global unicast", "RFC 4291"),
    ("::/96", _N, "deprecated IPv4-compatible", "RFC 4291"),
    ("::/128", _N, "unspecified", "RFC 4291"),
    ("::1/128", _N, "loopback", "RFC 4291"),
    ("::ffff:0:0/96", _P, "IPv4-mapped", "RFC 4291"),
    ("::ffff:0:0:0/96", _N, "deprecated IPv4-translated", "RFC 2765"),
    ("64:ff9b::/96", _P, "IPv4-IPv6 translation", "RFC 6052"),
    ("64:ff9b:1::/48", _I, "local IPv4-IPv6 translation", "RFC 8215"),
    ("100::/64", _N, "discard-only", "RFC 6666"),
    ("100:0:0:1::/64", _N, "dummy", "RFC 9780"),
    ("2001::/23", _I, "IETF protocol assignments", "RFC 2928"),
    ("2001::/32", _I, "Teredo", "RFC 4380"),
    ("2001:1::1/128", _P, "port control anycast", "RFC 7723"),
    ("2001:1::2/128", _P, "TURN anycast", "RFC 8155"),
    ("2001:1::3/128", _P, "service registration anycast", "RFC 9665"),
    ("2001:2::/48", _I, "benchmarking", "RFC 5180"),
    ("2001:3::/32", _P, "multicast tunnelling", "RFC 7450"),
    ("2001:4:112::/48", _P, "AS112", "RFC 7535"),
    ("2001:10::/28", _I, "deprecated ORCHID", "RFC 4843"),
    ("2001:20::/28", _P, "ORCHIDv2", "RFC 7343"),
    ("2001:30::/28", _P, "drone remote identification", "RFC 9374"),
    ("2001:db8::/32", _I, "documentation", "RFC 3849"),
    ("2002::/16", _I, "6to4", "RFC 3056"),
    ("2620:4f:8000::/48", _P, "direct delegation AS112", "RFC 7534"),
    ("3fff::/20", _I, "documentation", "RFC 9637"),
    ("5f00::/16", _I, "segment routing", "RFC 9602"),
    ("fc00::/7", _I, "unique local", "RFC 4193"),
    ("fe80::/10", _N, "link-local", "RFC 4291"),
    ("fec0::/10", _I, "deprecated site-local", "RFC 3879"),
    ("ff00::/8", _N, "multicast", "RFC 4291"),
)

# What the supervisor's DNS answers with: what nobody may use on a real network, and a unique local
# prefix (RFC 4193) drawn once for this project. The one place of these pools; fence and egress
# must mean the same.
SYNTHETIC_V4 = ipaddress.IPv4Network("198.18.0.0/15")
SYNTHETIC_V6 = ipaddress.IPv6Network("fdc6:5e1f:9d07::/64")

# Services that hand credentials or configuration to whoever asks from inside a cloud's machine.
# Those in 169.254.0.0/16 are refused as link-local anyway; here they get their name.
METADATA: dict[Address, str] = {
    ipaddress.ip_address(text): name
    for text, name in (
        (
            "169.254.169.254",
            "instance metadata of AWS, Google, Azure, OpenStack, Oracle and others",
        ),
        ("169.254.170.2", "AWS ECS task credentials"),
        ("169.254.170.23", "AWS EKS pod identity"),
        ("169.254.0.23", "Tencent Cloud metadata"),
        ("169.254.42.42", "Scaleway metadata"),
        ("100.100.100.200", "Alibaba Cloud metadata"),
        ("192.0.0.192", "Oracle Cloud classic metadata"),
        ("168.63.129.16", "Azure wire server"),
        ("fd00:ec2::254", "AWS instance metadata"),
        ("fd00:ec2::23", "AWS EKS pod identity"),
        ("fd20:ce::254", "Google Cloud metadata"),
        ("fd00:42::42", "Scaleway metadata"),
        ("fd00:c1::a9fe:a9fe", "Oracle Cloud metadata"),
        ("fe80::a9fe:a9fe", "OpenStack metadata"),
    )
}

# etcd (client, peer), kube-apiserver, kubelet (and its read-only port).
CONTROL_PLANE_PORTS = frozenset({2379, 2380, 6443, 10250, 10255})

# The names under which container engines offer the host's address.
HOST_GATEWAY_NAMES = frozenset(
    {"host.openshell.internal", "host.containers.internal", "host.docker.internal"}
)


# Addresses come from DNS answers, which others choose: what is remembered of them has a bound.
CACHED_ADDRESSES = 1024


def _narrowest_first(rows: tuple[tuple[str, Class, str, str], ...]) -> tuple[Block, ...]:
    blocks = (Block(ipaddress.ip_network(row[0]), *row[1:]) for row in rows)
    return tuple(sorted(blocks, key=lambda block: -block.network.prefixlen))


REGISTRY_V4 = _narrowest_first(_V4_ROWS)
REGISTRY_V6 = _narrowest_first(_V6_ROWS)

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_TRANSLATED = ipaddress.IPv6Network("64:ff9b:1::/48")
_LAST_32_BITS = (1 << 32) - 1
_LAST_56_BITS = (1 << 56) - 1


def block_of(address: Address) -> Block | None:
    """The narrowest registry row that holds ``address``; None for ordinary public IPv4."""
    rows = REGISTRY_V4 if address.version == 4 else REGISTRY_V6
    return next((row for row in rows if address in row.network), None)


def embedded_ipv4(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Every IPv4 address that a packet to ``address`` may end up at.

    RFC 4291 section 2.5.5 (mapped, compatible), RFC 6052 section 2.2 (translated; the local-use
    prefix may be cut at /48, /56, /64 or /96), RFC 3056 (6to4), RFC 4380 (Teredo: server, client).
    """
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    value = int(address)
    last = ipaddress.IPv4Address(value & _LAST_32_BITS)
    if address in _LOCAL_TRANSLATED:
        # Bits 64 to 71 are stepped over (RFC 6052 figure 1). Which cut is in use only the local
        # translator knows, so all count, but for those that give 0.0.0.0/8, where nothing is.
        joined = value >> 64 << 56 | value & _LAST_56_BITS
        cuts = (joined >> (120 - 32 - prefix) & _LAST_32_BITS for prefix in (48, 56, 64))
        return tuple(ipaddress.IPv4Address(cut) for cut in (*cuts, int(last)) if cut >> 24)
    # ::/96 is the deprecated IPv4-compatible form, ::ffff:0:0:0/96 the IPv4-translated one.
    if address in _TRANSLATED or value >> 32 in (0, 0xFFFF_0000):
        return (last,)
    return ()


class AddressVerdict(NamedTuple):
    """Whether an address may be dialled, and why; ``cause`` is a sentence with the facts."""

    is_allowed: bool
    code: Code
    cause: str
    address: Address | None = None


class Trust(Enum):
    """How far a matched endpoint opens addresses (the reference's five modes)."""

    PUBLIC = "public"  # wildcards and whatever else: public addresses only
    EXACT_HOST = "exact-host"  # the policy names this very host: private addresses, too
    LISTED = "listed"  # only addresses in ``networks``: allowed_ips, or the host is an address
    GATEWAY = "gateway"  # only the one address in ``networks``, which is the host gateway's


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRule:
    """What a connection's decision says about the addresses of its host."""

    trust: Trust
    networks: tuple[Network, ...] = ()


PUBLIC_ONLY = AddressRule(trust=Trust.PUBLIC)
EXACT_HOST = AddressRule(trust=Trust.EXACT_HOST)


def judge_address(address: Address, *, rule: AddressRule, port: int) -> AddressVerdict:
    """Whether ``address`` may be dialled on ``port`` under ``rule``. Total: never raises."""
    if rule.trust is Trust.GATEWAY:
        return _judge_gateway(address, rule)
    if port in CONTROL_PLANE_PORTS:
        return _refused(codes.CONTROL_PLANE_PORT, address, f"port {port} is a control plane's")
    kind, code, why = classify(address)
    if kind is Class.NEVER:
        return _refused(code, address, why)
    if rule.trust is Trust.LISTED:
        if not any(_holds(network, address) for network in rule.networks):
            return _refused(codes.ADDRESS_NOT_LISTED, address, "not in the endpoint's networks")
        return _allowed(address, "in the endpoint's networks")
    if kind is Class.INTERNAL and rule.trust is not Trust.EXACT_HOST:
        return _refused(codes.ADDRESS_INTERNAL, address, why)
    return _allowed(address, why)


def judge_addresses(
    addresses: tuple[Address, ...], *, rule: AddressRule, port: int
) -> AddressVerdict:
    """All or nothing: the first refused address refuses the connection; so does an empty answer.

    A mixed answer is how rebinding begins, so the good half of it is not dialled either.
    """
    if not addresses:
        return AddressVerdict(is_allowed=False, code=codes.ADDRESS_NONE, cause="no address")
    verdicts = [judge_address(address, rule=rule, port=port) for address in addresses]
    return next((verdict for verdict in verdicts if not verdict.is_allowed), verdicts[0])


@lru_cache(maxsize=CACHED_ADDRESSES)
def classify(address: Address) -> tuple[Class, Code, str]:
    """Class, code (unless a rule opens it) and a sentence; embedded addresses included."""
    if address in METADATA:
        return Class.NEVER, codes.ADDRESS_METADATA, f"{address} is {METADATA[address]}"
    if address in SYNTHETIC_V4 or address in SYNTHETIC_V6:
        return Class.NEVER, codes.ADDRESS_SYNTHETIC, f"{address} is a synthetic address"
    block = block_of(address)
    kind = Class.PUBLIC if block is None else block.kind
    why = f"{address} is {_named(block)}"
    if kind is not Class.NEVER:
        for inner in embedded_ipv4(address):
            inner_kind, inner_code, inner_why = classify(inner)
            if inner_kind is Class.NEVER:
                return inner_kind, inner_code, f"{why}; inside it, {inner_why}"
            if inner_kind is Class.INTERNAL:
                kind, why = inner_kind, f"{why}; inside it, {inner_why}"
    return kind, _CODES[kind], why


_CODES = {
    Class.PUBLIC: codes.ADDRESS_ALLOWED,
    Class.INTERNAL: codes.ADDRESS_INTERNAL,
    Class.NEVER: codes.ADDRESS_NEVER,
}


def _named(block: Block | None) -> str:
    if block is None or block.name == "global unicast":
        return "a public address"
    return f"{block.name} ({block.source})"


def _holds(network: Network, address: Address) -> bool:
    """Whether a network of the policy means ``address``; a mapped address is its IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in network


def _judge_gateway(address: Address, rule: AddressRule) -> AddressVerdict:
    is_it = any(address in network for network in rule.networks)
    if is_it and address.is_link_local and address not in METADATA:
        return _allowed(address, "the host gateway")
    return _refused(codes.ADDRESS_NOT_GATEWAY, address, "not the host gateway")


def _allowed(address: Address, why: str) -> AddressVerdict:
    return AddressVerdict(is_allowed=True, code=codes.ADDRESS_ALLOWED, cause=why, address=address)


def _refused(code: Code, address: Address, why: str) -> AddressVerdict:
    cause = why if str(address) in why else f"{address}: {why}"
    return AddressVerdict(is_allowed=False, code=code, cause=cause, address=address)


def host_gateway_rule(gateway: Address) -> AddressRule:
    """The rule for HOST_GATEWAY_NAMES once the container's hosts file gave them ``gateway``.

    Raises PatternError unless it is link-local and no metadata service: for another address the
    ordinary rules do.
    """
    if not gateway.is_link_local or gateway in METADATA:
        raise codes.refused(codes.ADDRESS_NOT_GATEWAY, f"{gateway} cannot be trusted as gateway")
    return AddressRule(trust=Trust.GATEWAY, networks=(ipaddress.ip_network(gateway),))


def forbidden_allowed_network(network: Network) -> PatternError | None:
    """Why ``allowed_ips`` may not name ``network``; None where it may.

    A network that holds loopback, link-local, multicast or reserved space is refused whole, so
    that 0.0.0.0/0 is. The synthetic pools and single metadata addresses lie inside legitimate
    private networks: those are carved out when an address is judged, and refused here only where
    nothing else is left of the network.
    """
    if _is_subnet(network, _MAPPED):
        return codes.refused(
            codes.NETWORK_FORBIDDEN, f"{network} is IPv4 inside IPv6: write the IPv4 network"
        )
    if _is_subnet(network, _TRANSLATED):
        last = int(network.network_address) & _LAST_32_BITS
        return forbidden_allowed_network(ipaddress.IPv4Network((last, network.prefixlen - 96)))
    for row in REGISTRY_V4 if network.version == 4 else REGISTRY_V6:
        inside = _is_subnet(network, row.network)
        # A narrow special row inside a wide legitimate network is judged at connect time.
        around = (
            _is_subnet(row.network, network) and row.network.prefixlen <= _WIDE[row.network.version]
        )
        if row.kind is Class.NEVER and (inside or around):
            return codes.refused(
                codes.NETWORK_FORBIDDEN, f"{network} holds {row.network}: {row.name} ({row.source})"
            )
    pool = SYNTHETIC_V4 if network.version == 4 else SYNTHETIC_V6
    if _is_subnet(network, pool):
        return codes.refused(codes.NETWORK_FORBIDDEN, f"{network} is in the synthetic pool {pool}")
    if network.num_addresses == 1 and network.network_address in METADATA:
        name = METADATA[network.network_address]
        return codes.refused(codes.NETWORK_FORBIDDEN, f"{network.network_address} is {name}")
    return None


# Rows up to these prefix lengths are ranges in their own right; longer ones are single addresses
# or small assignments inside a network that a policy may well name.
_WIDE = {4: 16, 6: 96}


def _is_subnet(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )
