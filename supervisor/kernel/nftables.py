"""nftables over netlink: a table sent as one transaction, and what the kernel holds, read back.

pyroute2 encodes and decodes the messages. No ``nft`` program and no libnftables is involved.

Sources: include/uapi/linux/netfilter/nf_tables.h, nft(8).
"""

import errno
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.kernel.codec import Message
from supervisor.kernel.codec import nftsocket as nft
from supervisor.kernel.netlink import (
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkSocket,
    Request,
)
from supervisor.kernel.nft_rules import encoded, held, packets
from supervisor.kernel.ruleset import Chain, Held, HeldChain, PortSet, Table

NFPROTO_ANY = 0
NFPROTO_INET = 1

# An owned table is changed by its owner's socket alone; persist keeps it when that socket closes.
# Owner without persist would vanish with the socket, which opens the fence: never used.
TABLE_OWNER = 0x2
TABLE_PERSIST = 0x4
OWNED = TABLE_OWNER | TABLE_PERSIST
UNOWNED = 0

PORT_KEY_TYPE = 13  # inet_service, so that `nft list` shows ports
PORT_KEY_SIZE = 2
# One netlink attribute holds at most 64 KiB; an element takes 16 bytes of the list's.
ELEMENTS_AT_ONCE = 500


def open_socket() -> NetlinkSocket:
    """A netlink socket for the functions below."""
    return NetlinkSocket.open(NETLINK_NETFILTER)


def install(channel: NetlinkSocket, table: Table) -> int:
    """Put a table in place, replacing one of the same name, as one transaction.

    Returns its flags: OWNED, or UNOWNED where the kernel is older than 6.9 and cannot keep an
    owned table without its owner. Raises NetlinkError naming the refused request.
    """
    try:
        channel.batch(list(_replacement(table, OWNED)))
    except NetlinkError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP} or not _is_table(error):
            raise
        channel.batch(list(_replacement(table, UNOWNED)))
        return UNOWNED
    return OWNED


def adopt(channel: NetlinkSocket, name: str) -> bool:
    """Become the owner of a table that a former owner left behind (Linux 6.9); else False.

    Raises NetlinkError; EPERM while its owner lives.
    """
    try:
        channel.batch([_table(nft.NFT_MSG_NEWTABLE, name, OWNED)])
    except NetlinkError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
        return False
    return True


def remove(channel: NetlinkSocket, name: str) -> None:
    """Delete a table with all in it. Raises NetlinkError."""
    channel.batch([_table(nft.NFT_MSG_DELTABLE, name)])


def add_ports(channel: NetlinkSocket, table: str, ports: PortSet) -> None:
    """Add ``ports.ports`` to the set that ``ports`` names. Raises NetlinkError."""
    channel.batch(list(_elements(nft.NFT_MSG_NEWSETELEM, table, ports)))


def remove_ports(channel: NetlinkSocket, table: str, ports: PortSet) -> None:
    """Take ``ports.ports`` out of the set that ``ports`` names. Raises NetlinkError."""
    channel.batch(list(_elements(nft.NFT_MSG_DELSETELEM, table, ports)))


def read_back(channel: NetlinkSocket, name: str) -> Held | None:
    """What the kernel holds under this table name; None when it holds no such table.

    Raises NetlinkError.
    """
    tables = _dump(channel, nft.nft_table_msg, nft.NFT_MSG_GETTABLE)
    found = [table for table in tables if table.get_attr("NFTA_TABLE_NAME") == name]
    if not found:
        return None
    sets = _dump(channel, nft.nft_set_msg, nft.NFT_MSG_GETSET, [("NFTA_SET_TABLE", name)])
    return Held(
        flags=found[0].get_attr("NFTA_TABLE_FLAGS") or 0,
        chains=tuple(sorted(chain for chain in chains(channel) if chain.table == name)),
        rules=tuple(held(answer) for answer in _dump_rules(channel, name)),
        sets=tuple(sorted((_name(one), _held_ports(channel, name, _name(one))) for one in sets)),
    )


def chains(channel: NetlinkSocket, family: int = NFPROTO_INET) -> tuple[HeldChain, ...]:
    """All chains of all tables of a family (NFPROTO_ANY: of every family). Raises NetlinkError."""
    found = _dump(channel, nft.nft_chain_msg, nft.NFT_MSG_GETCHAIN, family=family)
    return tuple(_held_chain(chain) for chain in found)


def expected(table: Table, flags: int) -> Held:
    """What ``read_back`` returns when the kernel holds exactly this table."""
    chains_held = [_decoded(nft.nft_chain_msg, _chain(table.name, chain)) for chain in table.chains]
    return Held(
        flags=flags,
        chains=tuple(sorted(_held_chain(chain) for chain in chains_held)),
        rules=tuple(
            held(encoded(table.name, chain.name, rule).message)
            for chain in table.chains
            for rule in chain.rules
        ),
        sets=tuple(sorted((ports.name, tuple(sorted(ports.ports))) for ports in table.sets)),
    )


def counters(channel: NetlinkSocket, table: str) -> dict[str, int]:
    """Packets counted so far by each counting rule, by the rule's comment. Raises NetlinkError."""
    answers = (packets(answer) for answer in _dump_rules(channel, table))
    return dict(answer for answer in answers if answer is not None)


def _replacement(table: Table, flags: int) -> Iterator[Request]:
    # Adding an existing table is no error, so "add, delete, add" replaces it whether or not it
    # was there; within one transaction no packet sees the moment between. Adding with the owner
    # flag also takes a table over that a former owner left behind.
    yield _table(nft.NFT_MSG_NEWTABLE, table.name, flags)
    yield _table(nft.NFT_MSG_DELTABLE, table.name)
    yield _table(nft.NFT_MSG_NEWTABLE, table.name, flags)
    for identity, ports in enumerate(table.sets, start=1):
        yield _set(table.name, ports, identity)
        yield from _elements(nft.NFT_MSG_NEWSETELEM, table.name, ports)
    for chain in table.chains:
        yield _chain(table.name, chain)
        for rule in chain.rules:
            yield encoded(table.name, chain.name, rule)


def _is_table(error: NetlinkError) -> bool:
    return error.what.startswith("table ")


def _message(
    kind: type[Message],
    number: int,
    flags: int,
    what: str,
    attributes: list[tuple[str, Any]],
    *,
    family: int = NFPROTO_INET,
) -> Request:
    message = kind()
    message["attrs"] = attributes
    message["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | number
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message["nfgen_family"] = family
    message.encode()
    return Request(bytes(message.data), what)


def _table(number: int, name: str, flags: int | None = None) -> Request:
    attributes: list[tuple[str, Any]] = [("NFTA_TABLE_NAME", name)]
    if flags is not None:
        attributes.append(("NFTA_TABLE_FLAGS", flags))
    create = NLM_F_CREATE if number == nft.NFT_MSG_NEWTABLE else 0
    return _message(nft.nft_table_msg, number, create, f"table {name}", attributes)


def _chain(table: str, chain: Chain) -> Request:
    hook = {
        "attrs": [
            ("NFTA_HOOK_HOOKNUM", chain.hook.value),
            ("NFTA_HOOK_PRIORITY", chain.priority),
        ]
    }
    attributes = [
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", chain.name),
        ("NFTA_CHAIN_HOOK", hook),
        ("NFTA_CHAIN_TYPE", chain.kind),
        ("NFTA_CHAIN_POLICY", chain.default.value),
    ]
    what = f"chain {table} {chain.name}"
    return _message(nft.nft_chain_msg, nft.NFT_MSG_NEWCHAIN, NLM_F_CREATE, what, attributes)


def _set(table: str, ports: PortSet, identity: int) -> Request:
    attributes = [
        ("NFTA_SET_TABLE", table),
        ("NFTA_SET_NAME", ports.name),
        ("NFTA_SET_FLAGS", frozenset()),
        ("NFTA_SET_KEY_TYPE", PORT_KEY_TYPE),
        ("NFTA_SET_KEY_LEN", PORT_KEY_SIZE),
        ("NFTA_SET_ID", identity),
    ]
    what = f"set {table} {ports.name}"
    return _message(nft.nft_set_msg, nft.NFT_MSG_NEWSET, NLM_F_CREATE, what, attributes)


def _elements(number: int, table: str, ports: PortSet) -> Iterator[Request]:
    ordered = sorted(ports.ports)
    flags = NLM_F_CREATE if number == nft.NFT_MSG_NEWSETELEM else 0
    what = f"elements of set {table} {ports.name}"
    for start in range(0, len(ordered), ELEMENTS_AT_ONCE):
        some = ordered[start : start + ELEMENTS_AT_ONCE]
        keys = [{"attrs": [("NFTA_DATA_VALUE", struct.pack("!H", port))]} for port in some]
        elements = [{"attrs": [("NFTA_SET_ELEM_KEY", key)]} for key in keys]
        attributes = [
            ("NFTA_SET_ELEM_LIST_TABLE", table),
            ("NFTA_SET_ELEM_LIST_SET", ports.name),
            ("NFTA_SET_ELEM_LIST_ELEMENTS", elements),
        ]
        yield _message(nft.nft_set_elem_list_msg, number, flags, what, attributes)


def _dump(
    channel: NetlinkSocket,
    kind: type[Message],
    number: int,
    attributes: Sequence[tuple[str, Any]] = (),
    *,
    family: int = NFPROTO_INET,
) -> list[Message]:
    what = f"dump {kind.__name__}"
    request = _message(kind, number, NLM_F_DUMP, what, list(attributes), family=family)
    return [_decoded(kind, Request(answer, what)) for answer in channel.dump(request)]


def _dump_rules(channel: NetlinkSocket, table: str) -> list[bytes]:
    attributes = [("NFTA_RULE_TABLE", table)]
    what = f"dump rules of {table}"
    request = _message(nft.nft_rule_msg, nft.NFT_MSG_GETRULE, NLM_F_DUMP, what, attributes)
    return channel.dump(request)


def _decoded(kind: type[Message], request: Request) -> Message:
    message = kind(request.message)
    message.decode()
    return message


def _name(ports: Message) -> str:
    return str(ports.get_attr("NFTA_SET_NAME"))


def _held_chain(chain: Message) -> HeldChain:
    hook = chain.get_attr("NFTA_CHAIN_HOOK")
    return HeldChain(
        table=chain.get_attr("NFTA_CHAIN_TABLE"),
        name=chain.get_attr("NFTA_CHAIN_NAME"),
        kind=chain.get_attr("NFTA_CHAIN_TYPE"),
        hook=None if hook is None else hook.get_attr("NFTA_HOOK_HOOKNUM"),
        priority=None if hook is None else hook.get_attr("NFTA_HOOK_PRIORITY"),
        default=chain.get_attr("NFTA_CHAIN_POLICY"),
    )


def _held_ports(channel: NetlinkSocket, table: str, name: str) -> tuple[int, ...]:
    which = [("NFTA_SET_ELEM_LIST_TABLE", table), ("NFTA_SET_ELEM_LIST_SET", name)]
    ports = []
    for answer in _dump(channel, nft.nft_set_elem_list_msg, nft.NFT_MSG_GETSETELEM, which):
        for element in answer.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS") or ():
            key = element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE")
            ports.append(int.from_bytes(key, "big"))
    return tuple(sorted(ports))
