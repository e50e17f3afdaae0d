"""Rule messages: from the vocabulary of ``ruleset`` to bytes for the kernel, and back.

pyroute2's codec does the expressions, with its mistakes (0.9.5 to 0.9.7) corrected by the
subclasses below. It takes a tenth of a millisecond for each, and a rule set is some hundreds of
expressions of which few are different; so each different one is encoded, or decoded, once, and
the message around them is put together here.

Source: include/uapi/linux/netfilter/nf_tables.h.
"""

import socket
import struct
from functools import lru_cache

from supervisor.kernel.codec import Message
from supervisor.kernel.codec import nftsocket as nft
from supervisor.kernel.expressions import Expression, Value, of_rule
from supervisor.kernel.netlink import (
    ATTRIBUTE,
    ATTRIBUTE_NESTED,
    HEADER,
    NFNL_SUBSYS_NFTABLES,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    Request,
    attribute,
    attribute_list,
    attributes,
)
from supervisor.kernel.ruleset import HeldRule, Plain, Rule

NFPROTO_INET = 1
GENERIC = struct.pack("=BBH", NFPROTO_INET, 0, socket.htons(0))  # struct nfgenmsg
NFT_MSG_NEWRULE = NFNL_SUBSYS_NFTABLES << 8 | 6
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS, RULE_USERDATA = 1, 2, 4, 7
LIST_ELEMENT = 1
COMMENT = 0  # the first of a rule's user data, by libnftnl's convention: type, length, text
COMMENT_BYTES = 254

# Room for every different expression of a fence several times over; a program that makes more
# only pays for encoding them again.
DIFFERENT_EXPRESSIONS = 1024

# The kernel counts on while we look.
VOLATILE = {"NFTA_COUNTER_BYTES", "NFTA_COUNTER_PACKETS"}


class _LogGroup16(nft.nft_contains_expr.nft_expr.nft_log):  # type: ignore[misc]
    """The kernel reads group and threshold as 16 bits; as 32 every group became group 0."""

    nla_map = (
        ("NFTA_LOG_UNSPEC", "none"),
        ("NFTA_LOG_GROUP", "be16"),
        ("NFTA_LOG_PREFIX", "asciiz"),
        ("NFTA_LOG_SNAPLEN", "be32"),
        ("NFTA_LOG_QTHRESHOLD", "be16"),
        ("NFTA_LOG_LEVEL", "log_level"),
        ("NFTA_LOG_FLAGS", "log_flags"),
    )


class _FibNumbers(nft.nft_regs):  # type: ignore[misc]
    """Result is a number and flags are bits; the codec has the two the wrong way round."""

    nla_map = (
        ("NFTA_FIB_UNSPEC", "none"),
        ("NFTA_FIB_DREG", "regs"),
        ("NFTA_FIB_RESULT", "be32"),
        ("NFTA_FIB_FLAGS", "be32"),
    )


class _Expression(nft.nft_contains_expr.nft_expr):  # type: ignore[misc]
    nft_log = _LogGroup16
    nft_fib = _FibNumbers


@lru_cache(maxsize=DIFFERENT_EXPRESSIONS)  # what was sent is encoded again, to be compared
def encoded(table: str, chain: str, rule: Rule) -> Request:
    """The message that appends a rule to a chain. Raises ValueError for an overlong comment."""
    comment = rule.comment.encode()
    if len(comment) > COMMENT_BYTES:
        raise ValueError(f"a rule's comment is over {COMMENT_BYTES} bytes: {rule.comment!r}")
    elements = b"".join(_encoded_expression(expression) for expression in of_rule(rule))
    body = b"".join(
        (
            GENERIC,
            attribute(RULE_TABLE, table.encode() + b"\0"),
            attribute(RULE_CHAIN, chain.encode() + b"\0"),
            attribute(RULE_EXPRESSIONS | ATTRIBUTE_NESTED, elements),
            attribute(RULE_USERDATA, bytes([COMMENT, len(comment) + 1]) + comment + b"\0"),
        )
    )
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
    header = HEADER.pack(HEADER.size + len(body), NFT_MSG_NEWRULE, flags, 0, 0)
    return Request(header + body, f"rule {table} {chain} {rule.comment!r}")


def held(message: bytes) -> HeldRule:
    """A rule message, as it was sent or as the kernel dumps it."""
    found = _parts(message)
    return HeldRule(
        chain=_text(found[RULE_CHAIN]),
        comment=_comment(found),
        expressions=tuple(_elements(found)),
    )


def packets(message: bytes) -> tuple[str, int] | None:
    """The comment of a dumped rule and the packets it counted; None if it does not count."""
    found = _parts(message)
    for element in _elements(found):
        name, data = _decoded_expression(element)
        if name == "counter":
            return _comment(found), dict(data)["NFTA_COUNTER_PACKETS"]
    return None


def meaning(element: bytes) -> Plain:
    """What one encoded expression says, whatever the order of its attributes, without what
    changes by itself (counts)."""
    name, data = _decoded_expression(element)
    return name, tuple(pair for pair in data if pair[0] not in VOLATILE)


@lru_cache(maxsize=DIFFERENT_EXPRESSIONS)
def _encoded_expression(expression: Expression) -> bytes:
    """One list element, header included."""
    message = _Expression()
    data = _for_codec(expression.attributes)
    message["attrs"] = [("NFTA_EXPR_NAME", expression.name), ("NFTA_EXPR_DATA", data)]
    message.encode()
    return attribute(LIST_ELEMENT | ATTRIBUTE_NESTED, bytes(message.data)[ATTRIBUTE.size :])


@lru_cache(maxsize=DIFFERENT_EXPRESSIONS)
def _decoded_expression(element: bytes) -> Plain:
    """Name and sorted attributes of one list element, header excluded."""
    expression = _Expression(attribute(LIST_ELEMENT | ATTRIBUTE_NESTED, element))
    expression.decode()
    return expression.get_attr("NFTA_EXPR_NAME"), _plain(expression.get_attr("NFTA_EXPR_DATA"))


def _for_codec(value: Value) -> Message:
    if isinstance(value, tuple):
        return {"attrs": [(name, _for_codec(inner)) for name, inner in value]}
    return value


def _plain(value: Message) -> Plain:
    """Decoded attributes as nested, sorted tuples."""
    if isinstance(value, dict) and "attrs" in value:
        return tuple(sorted((slot[0], _plain(slot[1])) for slot in value["attrs"]))
    if isinstance(value, frozenset):
        return tuple(sorted(value))
    return value


def _parts(message: bytes) -> dict[int, bytes]:
    return attributes(message[HEADER.size + len(GENERIC) :])


def _elements(found: dict[int, bytes]) -> list[bytes]:
    return [content for _, content in attribute_list(found.get(RULE_EXPRESSIONS, b""))]


def _comment(found: dict[int, bytes]) -> str:
    data = found.get(RULE_USERDATA, b"")
    return _text(data[2 : 2 + data[1]]) if len(data) > 2 and data[0] == COMMENT else ""


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")
