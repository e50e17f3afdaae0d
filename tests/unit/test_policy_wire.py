"""What a compromised parser hands over becomes a policy of exactly the model's types, or an error."""

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.example_policy import EXAMPLE
from support.generated import WHOLE_POLICIES, policies
from support.loading import loaded

from policy.builtin import closed_policy
from policy.wire import WireError, from_wire, static_from_wire, to_wire

STATIC = """
    version: 1
    filesystem_policy: {include_workdir: true, read_only: [/usr, /opt/x], read_write: [/tmp]}
    process: {run_as_user: "1001"}
    supervisor: {loopback: [80], limits: {nofile: 100}, require: {controls: [pid-namespace]}}
    """


def over_the_wire(policy):
    return json.loads(json.dumps(to_wire(policy)))


@pytest.mark.parametrize("policy", [loaded(STATIC), closed_policy()])
def test_a_static_policy_comes_back_equal_with_its_places(policy):
    back = static_from_wire(over_the_wire(policy))

    assert back == policy
    assert back.process.origin == policy.process.origin


@WHOLE_POLICIES
@given(policies)
def test_a_network_policy_comes_back_equal_and_with_its_places(policy):
    back = from_wire(over_the_wire(policy))

    assert back == policy
    assert [it.origin for it in back.network_policies] == [
        it.origin for it in policy.network_policies
    ]


def test_every_kind_of_rule_and_finding_comes_back():
    policy = loaded(EXAMPLE)
    back = from_wire(over_the_wire(policy))

    assert back == policy
    assert back.findings == policy.findings
    assert len(back.not_enforced) == 7


def test_the_static_half_keeps_what_is_not_enforced_of_the_network_half():
    static = static_from_wire(over_the_wire(loaded(EXAMPLE)))

    assert static.network_policies == ()
    assert len(static.not_enforced) == 7


EXAMPLE_WIRE = over_the_wire(loaded(EXAMPLE))


@given(st.data())
def test_any_value_of_a_network_policy_replaced_gives_a_policy_or_a_wire_error(data):
    path = data.draw(st.sampled_from(sorted(places(EXAMPLE_WIRE))))
    value = data.draw(
        st.one_of(st.none(), st.text(max_size=5), st.just(0), st.just([]), st.just({}))
    )
    with contextlib.suppress(WireError):
        from_wire(replaced(EXAMPLE_WIRE, path, value))


def places(data, path=()):
    """The path of every value inside plain data."""
    yield path
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from places(item, (*path, index))


def replaced(data, path, value):
    if not path:
        return value
    return [
        replaced(item, path[1:], value) if i == path[0] else item for i, item in enumerate(data)
    ]


WIRE = over_the_wire(loaded(STATIC))


@given(
    st.sampled_from(sorted(places(WIRE))),
    st.one_of(
        st.none(),
        st.floats(),
        st.just({}),
        st.just(["Policy"]),
        st.just([[[]]]),
        st.just("/a/../b"),
        st.just(True),
    ),
)
def test_any_value_replaced_gives_a_policy_or_a_wire_error(path, value):
    try:
        policy = static_from_wire(replaced(WIRE, path, value))
    except WireError:
        return
    assert all(entry.path.startswith("/") for entry in policy.filesystem.read_only)
    assert "/a/../b" not in {entry.path for entry in policy.filesystem.read_write}


@pytest.mark.parametrize(
    "data", [None, {}, [], "x", 5, ["Policy"], [["Policy"]], ["Policy", *[[]] * 9]]
)
def test_what_is_no_policy_is_an_error(data):
    for read in (from_wire, static_from_wire):
        with pytest.raises(WireError):
            read(data)


def test_a_boolean_is_no_number_and_a_number_no_boolean():
    policy = over_the_wire(loaded(STATIC))
    for path in places(policy):
        value = policy
        for index in path:
            value = value[index]
        if isinstance(value, int):
            other = int(value) if isinstance(value, bool) else bool(value)
            with pytest.raises(WireError):
                static_from_wire(replaced(policy, path, other))


def test_the_monitor_reads_the_static_half_without_yaml_schema_or_network_modules():
    program = (
        "import sys, json, policy.builtin, policy.wire;"
        "policy.wire.static_from_wire(json.loads(sys.stdin.read()));"
        "print([m for m in sys.modules if m.startswith(('ruamel', 'pydantic', 'policy.'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(WIRE),
        capture_output=True,
        text=True,
        check=True,
    )

    for heavy in ("ruamel", "pydantic", "policy.network", "policy.host", "policy.grammar"):
        assert heavy not in done.stdout
