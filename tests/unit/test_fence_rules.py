"""The rules as data: what must be true of them whatever the kernel."""

import pytest

from supervisor.fence.compare import differences
from supervisor.fence.namespace import ruleset
from supervisor.fence.request import Served
from supervisor.fence.setup import without_zero
from supervisor.kernel.namespaces import IdRange
from supervisor.kernel.ruleset import Held, HeldChain, HeldRule, InState, Redirect, Verdict


@pytest.mark.parametrize("served", [None, Served()])
def test_every_filter_chain_of_the_namespace_form_drops_by_default(served):
    defaults = {
        chain.name: chain.default for chain in ruleset(served).chains if chain.kind == "filter"
    }

    assert defaults == {"output": Verdict.DROP, "input": Verdict.DROP, "forward": Verdict.DROP}


@pytest.mark.parametrize("served", [None, Served()])
def test_the_namespace_form_accepts_nothing_by_connection_state(served):
    rules = [rule for chain in ruleset(served).chains for rule in chain.rules]

    assert not [rule for rule in rules for match in rule.matches if isinstance(match, InState)]


def test_nothing_is_redirected_unless_something_is_served():
    def redirects(served):
        rules = [rule for chain in ruleset(served).chains for rule in chain.rules]
        return [rule.ending.port for rule in rules if isinstance(rule.ending, Redirect)]

    assert redirects(None) == []
    assert redirects(Served(capture=7001, dns=7053, proxy=7080)) == [7053, 7053, 7001]


def test_comments_name_each_rule_of_a_chain_uniquely():
    for served in (None, Served()):
        for chain in ruleset(served).chains:
            comments = [rule.comment for rule in chain.rules]
            assert len(set(comments)) == len(comments)


ASKED = Held(
    flags=6,
    chains=(HeldChain("t", "output", "filter", 3, 0, 0),),
    rules=(HeldRule("output", "a", ()), HeldRule("output", "b", ())),
    sets=(("closed", (80,)),),
)


@pytest.mark.parametrize(
    ("held", "difference"),
    [
        (None, "the table is gone"),
        (ASKED._replace(flags=0), "table flags are 0, not 6"),
        (ASKED._replace(sets=(("closed", ()),)), "port sets are (('closed', ()),)"),
        (ASKED._replace(chains=(HeldChain("t", "output", "filter", 3, 0, 1),)), "chains are"),
        (ASKED._replace(rules=ASKED.rules[:1]), "chain output has 1 rules, not 2"),
        (ASKED._replace(rules=ASKED.rules[::-1]), "rule 1 of chain output is 'b'"),
        (ASKED._replace(rules=(*ASKED.rules, HeldRule("other", "c", ()))), "chain other has 1"),
    ],
)
def test_each_kind_of_difference_is_named(held, difference):
    assert differences(held, ASKED)[0].startswith(difference)


def test_no_difference_is_found_where_there_is_none():
    assert differences(ASKED, ASKED) == []


@pytest.mark.parametrize(
    ("ranges", "trimmed"),
    [
        ([(0, 0, 65536)], [(1, 1, 65535)]),
        ([(0, 0, 1), (1, 1, 65536)], [(1, 1, 65536)]),
        ([(5, 5, 10)], [(5, 5, 10)]),
    ],
)
def test_id_0_can_be_left_out_of_a_map(ranges, trimmed):
    assert without_zero(tuple(IdRange(*line) for line in ranges)) == tuple(trimmed)
