"""Ids from a namespace's annotations: precedence, forms, and everything that must not become 1000."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Refusal
from supervisor.identity.openshift import (
    SUPPLEMENTAL_GROUPS,
    UID_RANGE,
    Block,
    parse_blocks,
    read_annotations,
    resolve,
)

OPENSHIFT = {UID_RANGE: "1000650000/10000", SUPPLEMENTAL_GROUPS: "1000660000/10000"}


def ids(uid=None, gid=None, groups="", annotations=None):
    found = resolve(uid=uid, gid=gid, groups=groups, annotations=annotations)
    return found.uid, found.gid


def code_of(call, *arguments, **named):
    with pytest.raises(Refusal) as refused:
        call(*arguments, **named)
    return refused.value.code.name


@pytest.mark.parametrize(
    ("uid", "gid", "annotations", "expected"),
    [
        (None, None, None, (1000, 1000)),
        (None, None, {}, (1000, 1000)),
        (None, None, OPENSHIFT, (1000650000, 1000660000)),
        (None, None, {UID_RANGE: "5000/10"}, (5000, 5000)),
        (None, None, {SUPPLEMENTAL_GROUPS: "7000/10"}, (1000, 7000)),
        ("2000", None, None, (2000, 2000)),
        ("2000", "3000", None, (2000, 3000)),
        (None, "1000660007", OPENSHIFT, (1000650000, 1000660007)),
        ("5", None, {UID_RANGE: "1/10"}, (5, 5)),
    ],
)
def test_the_first_input_that_speaks_decides(uid, gid, annotations, expected):
    assert ids(uid, gid, annotations=annotations) == expected


def test_each_id_names_the_input_that_decided():
    found = resolve(uid=None, gid="1000660001", annotations=OPENSHIFT)

    assert found.sources == {"uid": UID_RANGE, "gid": "--gid"}
    assert resolve(uid="5000", gid=None, annotations=None).sources["gid"] == "--uid"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000000000/10000", [Block(1000000000, 1000009999)]),
        ("1000/50000", [Block(1000, 50999)]),
        ("999/1", [Block(999, 999)]),
        ("1/1", [Block(1, 1)]),
        (" 1000 /10", [Block(1000, 1009)]),
        ("1000-1999", [Block(1000, 1999)]),
        ("1000/10,5000/10", [Block(1000, 1009), Block(5000, 5009)]),
        ("1000/10, 5000-5001", [Block(1000, 1009), Block(5000, 5001)]),
        ("4294967294/1", [Block(4294967294, 4294967294)]),
    ],
)
def test_every_documented_form_of_a_range_is_read(text, expected):
    assert list(parse_blocks(text, UID_RANGE)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1000", "abc", "1000/", "1000/0", "1000/abc", "/10", "-5/10", "+1000/10"),
        *("0/10", "0-10", "1000/10,0/10", "1000/10,", ",1000/10", "1000/10/10", "2000-1000"),
        *("4294967295/1", "4294967290/10000", "4294967290-4294967295", "01000/10", "1e3/10"),
        *("1000/-1", "٣/10", "1000\n/10", "1000/10;5000/10", "99999999999999999999/1"),
        ",".join(["1000/10"] * 65),
    ],
)
def test_what_is_no_range_is_refused_and_never_becomes_the_default(text):
    assert code_of(parse_blocks, text, UID_RANGE) == "identity.bad-range"
    assert code_of(ids, annotations={UID_RANGE: text}) == "identity.bad-range"
    assert code_of(ids, annotations={SUPPLEMENTAL_GROUPS: text}) == "identity.bad-range"
    # even where the annotation would not decide anything
    assert code_of(ids, "1000", "1000", annotations={UID_RANGE: text}) == "identity.bad-range"


@pytest.mark.parametrize(
    ("uid", "gid"), [("1000", None), ("1000", "1000660000"), (None, "1000"), (None, "1000670000")]
)
def test_a_configured_id_outside_of_the_range_is_refused_as_admission_would(uid, gid):
    assert code_of(ids, uid, gid, annotations=OPENSHIFT) == "identity.outside-range"


def test_a_second_block_is_allowed_for_the_uid_and_not_for_the_group_of_volumes():
    two = {UID_RANGE: "1000/10,5000/10", SUPPLEMENTAL_GROUPS: "1000/10,5000/10"}

    assert ids("5001", "1001", annotations=two) == (5001, 1001)
    assert code_of(ids, "5001", "5001", annotations=two) == "identity.outside-range"


@pytest.mark.parametrize(
    "text", ["0", "00", "+1", "-1", "4294967295", "1e3", "٣", "", " 1", "root"]
)
def test_a_configured_id_has_one_spelling_and_is_never_root(text):
    assert code_of(ids, text).startswith("identity.")
    assert code_of(ids, "1000", text).startswith("identity.")
    if text:
        assert code_of(ids, "1000", "1000", f"5,{text}").startswith("identity.")


@pytest.mark.parametrize("helper", ["64998", "64999"])
def test_an_id_of_a_helper_is_refused_wherever_it_appears(helper):
    assert code_of(ids, helper) == "identity.reserved-id"
    assert code_of(ids, "1000", helper) == "identity.reserved-id"
    assert code_of(ids, "1000", "1000", helper) == "identity.reserved-id"
    assert code_of(ids, annotations={UID_RANGE: f"{helper}/1"}) == "identity.reserved-id"


def test_low_ids_and_a_namespace_without_ranges_are_warned_about():
    assert len(resolve(uid="999", gid="999", annotations=None).warnings) == 2
    assert "not one of OpenShift's" in resolve(uid=None, gid=None, annotations={}).warnings[0]
    assert resolve(uid=None, gid=None, annotations=None).warnings == ()


def test_annotations_come_from_a_namespace_or_from_a_plain_object():
    namespace = {"kind": "Namespace", "metadata": {"name": "a", "annotations": OPENSHIFT}}

    assert read_annotations(json.dumps(namespace), "-") == OPENSHIFT
    assert read_annotations(json.dumps(OPENSHIFT), "-") == OPENSHIFT
    assert read_annotations('{"metadata": {"name": "a"}}', "-") == {}
    assert read_annotations("{}", "-") == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", '"x"', "{", '{"a": 1}', '{"items": []}', '{"a": "b", "a": "c"}'),
        *('{"metadata": {"annotations": {"a": null}}}', "[" * 100_000, "x" * (1 << 21)),
        '{"metadata": {"annotations": ["a"]}, "x": "y"}',
    ],
)
def test_anything_else_is_not_taken_for_annotations(text):
    assert code_of(read_annotations, text, "FILE") == "identity.bad-annotations"


@given(st.text(max_size=40))
def test_any_text_is_either_ranges_of_usable_ids_or_refused(text):
    try:
        blocks = parse_blocks(text, UID_RANGE)
    except Refusal:
        return
    assert all(0 < block.first <= block.last <= 4294967294 for block in blocks)
