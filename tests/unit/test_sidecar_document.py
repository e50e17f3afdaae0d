"""What the agent's half is told: the static policy and variables, checked; never the network half."""

import dataclasses
import json

import pytest
from support.built_policies import endpoint, entry, policy

from policy.builtin import closed_policy
from supervisor.sidecar.document import DocumentError, document, parse_document


def test_the_network_half_never_leaves_the_sidecar():
    whole = policy(entry("secret-place", endpoint("secret.example.com", 443)))

    data = document(whole, {"NAME": "value"})

    assert b"secret" not in data
    read = parse_document(data)
    assert read.policy.network_policies == ()
    assert read.policy.filesystem == whole.filesystem
    assert read.environment == {"NAME": "value"}


def test_the_same_policy_gives_the_same_bytes_so_that_nothing_is_pushed_twice():
    other = dataclasses.replace(closed_policy())

    assert document(closed_policy(), {"B": "2", "A": "1"}) == document(other, {"A": "1", "B": "2"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"policy": [], "environment": {}}',
        b'{"policy": 1, "environment": {}, "more": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_anything_else_is_no_document(content):
    with pytest.raises(DocumentError):
        parse_document(content)


@pytest.mark.parametrize("variables", [{"A": 1}, {"A": None}, {str(n): "" for n in range(2000)}])
def test_variables_are_texts_and_not_too_many(variables):
    content = json.loads(document(closed_policy(), {}))
    content["environment"] = variables

    with pytest.raises(DocumentError):
        parse_document(json.dumps(content).encode())
