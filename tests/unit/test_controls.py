"""What a container cannot give, against what the policy requires and accepts. Pure."""

from contextlib import nullcontext

import pytest

from policy.model import Require
from policy.words import CONTROLS
from supervisor.errors import Refusal
from supervisor.startup.controls import Lack, check_minimum, judge

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


@pytest.mark.parametrize(
    ("require", "form", "abi", "refused"),
    [
        (Require(fence="namespace"), "pod", 7, "startup.fence-form"),
        (Require(fence="namespace"), "namespace", 7, None),
        (Require(fence="namespace"), "loopback-only", 7, None),
        (Require(fence="pod"), "pod", 7, None),
        (Require(fence="pod"), "namespace", 7, None),
        (Require(landlock_abi=6), "namespace", 5, "startup.control-required"),
        (Require(landlock_abi=6), "namespace", 6, None),
        (Require(), "pod", 0, None),
    ],
)
def test_a_start_below_the_minimum_is_refused(require, form, abi, refused):
    with nullcontext() if refused is None else pytest.raises(Refusal, match=refused):
        check_minimum(require, form=form, landlock_abi=abi)
