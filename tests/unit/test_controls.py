"""What a container cannot give, against what the policy requires and accepts. Pure."""

import pytest

from policy.model import Require
from policy.words import CONTROLS
from supervisor.errors import Refusal
from supervisor.startup.controls import Lack, judge

LACKS = (Lack("private-proc", "no mount"), Lack("memory-limit", "no cgroup"))


def test_without_a_word_from_the_policy_what_lacks_is_reported():
    found = judge(LACKS, require=Require(), accept=frozenset())

    assert [(item.control, item.allowed_by) for item in found] == [
        ("private-proc", "default"),
        ("memory-limit", "default"),
    ]


def test_who_accepted_it_is_named():
    found = judge(LACKS, require=Require(), accept=frozenset({"memory-limit"}))

    assert found[1].allowed_by == "supervisor.accept"


@pytest.mark.parametrize("control", ["private-proc", "memory-limit"])
def test_a_required_control_that_lacks_is_refused(control):
    with pytest.raises(Refusal, match="control-required") as caught:
        judge(LACKS, require=Require(controls=frozenset({control})), accept=frozenset())

    assert caught.value.cause.startswith(f"{control}: ")


def test_what_is_there_may_be_required():
    others = frozenset(CONTROLS) - {lack.control for lack in LACKS}

    assert len(judge(LACKS, require=Require(controls=others), accept=frozenset())) == 2
