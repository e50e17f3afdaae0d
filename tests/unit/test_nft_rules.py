"""Rule messages: what is encoded means what was said, and is read back as the same."""

import struct
import subprocess
import sys
from ipaddress import ip_network

import pytest

from supervisor.fence.compare import differences
from supervisor.kernel.netlink import attribute, attribute_list
from supervisor.kernel.nft_rules import encoded, held, meaning, packets
from supervisor.kernel.ruleset import (
    Count,
    Held,
    HeldRule,
    Log,
    Owner,
    Protocol,
    Redirect,
    Rule,
    To,
    ToPort,
    ToThisMachine,
    Verdict,
)


def elements(*matches, statements=(), ending=None):
    rule = Rule(comment="a rule", matches=matches, statements=statements, ending=ending)
    return held(encoded("table", "chain", rule).message).expressions


def table_of(*rules):
    return Held(flags=0, chains=(), rules=rules, sets=())


def test_a_rule_keeps_its_chain_and_comment():
    rule = held(encoded("table", "output", Rule(comment="why — so")).message)

    assert (rule.chain, rule.comment, rule.expressions) == ("output", "why — so", ())


def test_a_port_is_compared_in_network_order_after_the_protocol():
    names = [meaning(element)[0] for element in elements(ToPort(Protocol.TCP, 443))]
    *_, compare = elements(ToPort(Protocol.TCP, 443))

    assert names == ["meta", "cmp", "payload", "cmp"]
    assert ("NFTA_CMP_DATA", (("NFTA_DATA_VALUE", b"\x01\xbb"),)) in meaning(compare)[1]


def test_an_address_is_guarded_by_its_family():
    for network, family in (("127.0.0.0/8", b"\x02"), ("::1/128", b"\x0a")):
        _, guard, *_ = elements(To(ip_network(network)))
        assert ("NFTA_CMP_DATA", (("NFTA_DATA_VALUE", family),)) in meaning(guard)[1]


@pytest.mark.parametrize(
    ("element", "attributes"),
    [
        # The codec's three mistakes that would open or blind the fence.
        (elements(statements=(Log(61, "x"),))[0], ("NFTA_LOG_GROUP", 61)),
        (elements(ToThisMachine())[0], ("NFTA_FIB_RESULT", 3)),
        (elements(ToThisMachine())[0], ("NFTA_FIB_FLAGS", 2)),
    ],
)
def test_what_the_codec_got_wrong_is_right(element, attributes):
    assert attributes in meaning(element)[1]


def test_log_groups_are_sixteen_bits_on_the_wire():
    (element,) = elements(statements=(Log(61, "x"),))
    data = dict(attribute_list(dict(attribute_list(element))[2]))

    assert data[1] == struct.pack("!H", 61)


def reordered(element: bytes) -> bytes:
    """The same expression with its attributes in the opposite order."""
    (name, data) = attribute_list(element)
    inner = [attribute(kind, content) for kind, content in attribute_list(data[1])]
    return attribute(*name) + attribute(data[0], b"".join(reversed(inner)))


def test_the_order_of_attributes_changes_nothing():
    asked = HeldRule("output", "a", elements(ToPort(Protocol.UDP, 53), ending=Redirect(61053)))
    given = asked._replace(expressions=tuple(reordered(one) for one in asked.expressions))

    assert given != asked
    assert differences(table_of(given), table_of(asked)) == []


def counted(number: int) -> bytes:
    (counter,) = elements(statements=(Count(),))
    (name, (kind, data)) = attribute_list(counter)
    inner = [attribute(which, struct.pack("!Q", number)) for which, _ in attribute_list(data)]
    return attribute(*name) + attribute(kind, b"".join(inner))


def test_counting_on_is_no_difference_and_the_count_is_read():
    rule = HeldRule("output", "a", (counted(7),))
    message = encoded("table", "output", Rule(comment="a", statements=(Count(),))).message

    assert differences(table_of(rule), table_of(rule._replace(expressions=(counted(0),)))) == []
    assert packets(message) == ("a", 0)
    assert packets(encoded("table", "output", Rule(comment="b")).message) is None


@pytest.mark.parametrize(
    "other",
    [
        elements(Owner(5), ending=Verdict.ACCEPT),
        elements(Owner(4, other=True), ending=Verdict.ACCEPT),
        elements(Owner(4), ending=Verdict.DROP),
        elements(Owner(4)),
        elements(ending=Verdict.ACCEPT),
    ],
)
def test_another_user_verdict_or_length_is_a_difference(other):
    asked = HeldRule("output", "a", elements(Owner(4), ending=Verdict.ACCEPT))

    assert len(differences(table_of(asked._replace(expressions=other)), table_of(asked))) == 1


def test_a_comment_that_libnftnl_could_not_hold_is_refused():
    with pytest.raises(ValueError, match="254"):
        encoded("table", "chain", Rule(comment="x" * 255))


def test_pyroute2_can_still_be_imported_after_the_codec():
    program = (
        "from supervisor.kernel import codec, nftables, rtnetlink; codec.link_messages();"
        "import pyroute2; print(pyroute2.IPRoute.__name__)"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "IPRoute\n"
