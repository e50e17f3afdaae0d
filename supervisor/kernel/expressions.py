"""Rules as nftables expressions. Pure.

A rule is a list of small instructions on registers: load something, compare, act. Every
attribute that the kernel would fill in by itself is given here, in the order in which it dumps
them, so that what is read back equals what was sent.

Sources: include/uapi/linux/netfilter/nf_tables.h; ``nft --debug=netlink`` shows the same list for
a rule in text.
"""

import struct
from ipaddress import IPv4Network
from typing import NamedTuple, assert_never

from supervisor.kernel.ruleset import (
    Arriving,
    AtMost,
    Carries,
    ConnectionMatch,
    Count,
    Direction,
    Ending,
    FromPort,
    Going,
    Icmpv6,
    InState,
    Leaving,
    Log,
    Mark,
    Marked,
    Match,
    Network,
    Opening,
    Owner,
    PacketMatch,
    Protocol,
    Redirect,
    Redirected,
    Reject,
    Rule,
    SpecialMatch,
    Statement,
    TellSourcePort,
    To,
    ToPort,
    ToPortIn,
    ToThisMachine,
    Verdict,
    Zone,
)

# What an attribute holds; a tuple of pairs is a nested list of attributes.
Value = int | str | bytes | frozenset[str] | tuple[tuple[str, "Value"], ...]


class Expression(NamedTuple):
    """One instruction: its name in nftables, and its attributes by their netlink names.

    Hashable, so that equal ones of many rules are encoded once.
    """

    name: str
    attributes: tuple[tuple[str, Value], ...]


# One register does: each comparison directly follows its load.
REGISTER = 1
VERDICT_REGISTER = 0
EQUAL, NOT_EQUAL = 0, 1

META_KEYS = {"iifname": 6, "oifname": 7, "skuid": 10, "nfproto": 15, "l4proto": 16}
CT_STATE, CT_DIRECTION, CT_STATUS, CT_MARK, CT_SOURCE_PORT, CT_ZONE = 0, 1, 2, 3, 11, 17
CT_STATUS_DNAT = struct.pack("=I", 1 << 5)  # IPS_DST_NAT

NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
SOURCE_PORT, DESTINATION_PORT = 0, 2
IPV4_DESTINATION, IPV6_DESTINATION = 16, 24
IPV6_HOP_LIMIT = 7
ICMPV6_TYPE = 0
TCP_FLAGS, TCP_CHECKSUM, TCP_URGENT_POINTER = 13, 16, 18
TCP_SYN, TCP_ACK = 0x02, 0x10

CHECKSUM_OF_INTERNET = 1  # RFC 1071

NFPROTO_IPV4, NFPROTO_IPV6 = 2, 10
INTERFACE_NAME_SIZE = 16
FIB_RESULT_ADDRESS_TYPE = 3
FIB_OF_DESTINATION = 1 << 1
RTN_LOCAL = 2
REJECT_WITH_RESET, REJECT_WITH_ICMPX = 1, 2
ICMPX_ADMIN_PROHIBITED = 3
LOG_BYTES = 128  # headers of any kind, never the whole payload


def of_rule(rule: Rule) -> list[Expression]:
    """The expressions of one rule, in order."""
    found: list[Expression] = []
    for match in rule.matches:
        found += of_match(match)
    for statement in rule.statements:
        found += of_statement(statement)
    if rule.ending is not None:
        found += of_ending(rule.ending)
    return found


def of_match(match: Match) -> list[Expression]:
    """The expressions that let a packet go on only if the match holds."""
    if isinstance(match, PacketMatch):
        return _of_packet_match(match)
    if isinstance(match, ConnectionMatch):
        return _of_connection_match(match)
    return _of_special_match(match)


def _of_packet_match(match: PacketMatch) -> list[Expression]:
    match match:
        case Leaving(interface):
            return _meta_equals("oifname", _name(interface))
        case Arriving(interface):
            return _meta_equals("iifname", _name(interface))
        case Owner(uid, other):
            return [_meta("skuid"), _compare(struct.pack("=I", uid), _unless(other))]
        case Carries(protocol):
            return _carries(protocol)
        case ToPort(protocol, port, other):
            return _port(protocol, DESTINATION_PORT, _compare(_be16(port), _unless(other)))
        case FromPort(protocol, port):
            return _port(protocol, SOURCE_PORT, _compare(_be16(port)))
        case ToPortIn(protocol, ports):
            return _port(protocol, DESTINATION_PORT, _lookup(ports))
        case To(network):
            return _to(network)
        case _:
            assert_never(match)


def _of_connection_match(match: ConnectionMatch) -> list[Expression]:
    match match:
        case InState(states):
            bits = struct.pack("=I", sum(state.value for state in states))
            return [_ct(CT_STATE), _masked(bits), _compare(bytes(4), NOT_EQUAL)]
        case Redirected(yes):
            wanted = NOT_EQUAL if yes else EQUAL
            return [_ct(CT_STATUS), _masked(CT_STATUS_DNAT), _compare(bytes(4), wanted)]
        case Going(direction):
            return [_ct(CT_DIRECTION), _compare(bytes([direction.value]))]
        case Marked(mark):
            return [_ct(CT_MARK), _compare(struct.pack("=I", mark))]
        case _:
            assert_never(match)


def _of_special_match(match: SpecialMatch) -> list[Expression]:
    match match:
        case ToThisMachine():
            look = _expression(
                "fib", dreg=REGISTER, result=FIB_RESULT_ADDRESS_TYPE, flags=FIB_OF_DESTINATION
            )
            return [look, _compare(struct.pack("=I", RTN_LOCAL))]
        case Opening(yes):
            return [
                *_carries(Protocol.TCP),
                _payload(TRANSPORT_HEADER, TCP_FLAGS, 1),
                _masked(bytes([TCP_SYN | TCP_ACK])),
                _compare(bytes([TCP_SYN]), EQUAL if yes else NOT_EQUAL),
            ]
        case Icmpv6():
            return _icmpv6(match)
        case AtMost(per_second, burst):
            return [_expression("limit", rate=per_second, unit=1, burst=burst, type=0, flags=0)]
        case _:
            assert_never(match)


def of_statement(statement: Statement) -> list[Expression]:
    """The expressions that carry a statement out."""
    match statement:
        case Count():
            return [_expression("counter", bytes=0, packets=0)]
        case Mark(mark):
            return [
                _expression("immediate", dreg=REGISTER, data=_value(struct.pack("=I", mark))),
                _expression("ct", sreg=REGISTER, key=CT_MARK),
            ]
        case Zone(number):
            original = Direction.ORIGINAL.value
            return [
                _expression("immediate", dreg=REGISTER, data=_value(struct.pack("=H", number))),
                _expression("ct", sreg=REGISTER, key=CT_ZONE, direction=original),
            ]
        case TellSourcePort():
            return _tell_source_port()
        case Log(group, prefix):
            return [_expression("log", prefix=prefix, group=group, snaplen=LOG_BYTES)]
        case _:
            assert_never(statement)


def of_ending(ending: Ending) -> list[Expression]:
    """The expressions that end the rule."""
    match ending:
        case Verdict():
            verdict = (("NFTA_VERDICT_CODE", ending.value),)
            data = (("NFTA_DATA_VERDICT", verdict),)
            return [_expression("immediate", dreg=VERDICT_REGISTER, data=data)]
        case Reject.RESET:
            return [_expression("reject", type=REJECT_WITH_RESET)]
        case Reject.PROHIBITED:
            return [_expression("reject", type=REJECT_WITH_ICMPX, icmp_code=ICMPX_ADMIN_PROHIBITED)]
        case Redirect(port):
            specified = frozenset({"NF_NAT_RANGE_PROTO_SPECIFIED"})
            return [
                _expression("immediate", dreg=REGISTER, data=_value(_be16(port))),
                _expression(
                    "redir", reg_proto_min=REGISTER, reg_proto_max=REGISTER, flags=specified
                ),
            ]
        case _:
            assert_never(ending)


def _expression(name: str, **attributes: Value) -> Expression:
    prefix = f"NFTA_{name.upper()}_"
    return Expression(
        name, tuple((prefix + key.upper(), value) for key, value in attributes.items())
    )


def _value(data: bytes) -> Value:
    return (("NFTA_DATA_VALUE", data),)


def _meta(key: str) -> Expression:
    return _expression("meta", key=META_KEYS[key], dreg=REGISTER)


def _ct(key: int) -> Expression:
    return _expression("ct", dreg=REGISTER, key=key)


def _compare(data: bytes, operation: int = EQUAL) -> Expression:
    return _expression("cmp", sreg=REGISTER, op=operation, data=_value(data))


def _unless(other: object) -> int:
    return NOT_EQUAL if other else EQUAL


def _masked(mask: bytes) -> Expression:
    size = len(mask)
    zero = _value(bytes(size))
    return _expression(
        "bitwise", sreg=REGISTER, dreg=REGISTER, len=size, op=0, mask=_value(mask), xor=zero
    )


def _lookup(ports: str) -> Expression:
    return _expression("lookup", set=ports, sreg=REGISTER, flags=frozenset())


def _payload(base: int, offset: int, length: int) -> Expression:
    return _expression("payload", dreg=REGISTER, base=base, offset=offset, len=length)


def _tell_source_port() -> list[Expression]:
    original = Direction.ORIGINAL.value
    return [
        _expression("ct", dreg=REGISTER, key=CT_SOURCE_PORT, direction=original),
        _expression(
            "payload",
            sreg=REGISTER,
            base=TRANSPORT_HEADER,
            offset=TCP_URGENT_POINTER,
            len=2,
            csum_type=CHECKSUM_OF_INTERNET,
            csum_offset=TCP_CHECKSUM,
            csum_flags=frozenset(),
        ),
    ]


def _meta_equals(key: str, data: bytes) -> list[Expression]:
    return [_meta(key), _compare(data)]


def _carries(protocol: Protocol) -> list[Expression]:
    return _meta_equals("l4proto", bytes([protocol.value]))


def _port(protocol: Protocol, offset: int, test: Expression) -> list[Expression]:
    return [*_carries(protocol), _payload(TRANSPORT_HEADER, offset, 2), test]


def _to(network: Network) -> list[Expression]:
    if isinstance(network, IPv4Network):
        family, offset, size = NFPROTO_IPV4, IPV4_DESTINATION, 4
    else:
        family, offset, size = NFPROTO_IPV6, IPV6_DESTINATION, 16
    # Without the family guard the bytes at this offset of the other family would be compared.
    found = [*_meta_equals("nfproto", bytes([family])), _payload(NETWORK_HEADER, offset, size)]
    if network.prefixlen < network.max_prefixlen:
        found.append(_masked(network.netmask.packed))
    return [*found, _compare(network.network_address.packed)]


def _icmpv6(message: Icmpv6) -> list[Expression]:
    found = [*_meta_equals("nfproto", bytes([NFPROTO_IPV6])), *_carries(Protocol.ICMPV6)]
    if message.one_hop:
        found += [_payload(NETWORK_HEADER, IPV6_HOP_LIMIT, 1), _compare(bytes([255]))]
    return [*found, _payload(TRANSPORT_HEADER, ICMPV6_TYPE, 1), _compare(bytes([message.type]))]


def _name(interface: str) -> bytes:
    return interface.encode().ljust(INTERFACE_NAME_SIZE, b"\0")


def _be16(port: int) -> bytes:
    return struct.pack("!H", port)
