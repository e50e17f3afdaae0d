"""The emitter: every parser reads what was meant, YAML 1.1 and 1.2 alike."""

import io

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from supervisor.deploy.yaml_text import dump

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS = TEXTS | st.booleans() | st.integers()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
).filter(lambda value: not nested_lists(value))


def nested_lists(value):
    """A list right inside a list: no manifest has one, and the emitter refuses it."""
    if isinstance(value, list):
        return any((isinstance(item, list) and item) or nested_lists(item) for item in value)
    return isinstance(value, dict) and any(map(nested_lists, value.values()))


def read_1_2(text):
    return list(YAML(typ="safe", pure=True).load_all(io.StringIO(text)))


def read_1_1(text):
    return list(yaml.safe_load_all(text))


@given(st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_written_is_read_back_by_both_versions_of_yaml(documents):
    text = dump(documents)

    assert read_1_2(text) == documents
    assert read_1_1(text) == documents


@pytest.mark.parametrize(
    "text",
    [
        *("on", "Off", "y", "NO", "null", "~", "", "true", "1000", "0o17", "017", "1:30", "1e3"),
        *(".inf", "NaN", "2024-01-01", "=", "<<", "- a", "a: b", "a #b", "&a", "*a", "!a", "%a"),
        *(
            "-n",
            "--on",
            "-/",
            "-.inf",
            "-inf",
            "---a",
            "@a",
            "`a",
            "'a'",
            '"a"',
            "a\tb",
            "a\\b",
            "[a]",
            "{a}",
            "|",
            ">",
            "?",
            "-",
            "--",
            "...",
        ),
        *(" a", "a ", "\n", "a\nb", "a\n\n", "\ta\n", "a\r\n", "é", "\u2028", "\U0001f600", "\x7f"),
        *(
            "#!/bin/sh\n\n  indented\n",
            "trailing \nspace\n",
            "\x85\n",
            "a\x85b\n",
            "---\n",
            "a\n---\n",
        ),
    ],
)
def test_a_text_that_looks_like_something_else_stays_a_text(text):
    documents = [{"key": text, "list": [text, text], "in": {"it": [{"a": text}]}}]

    assert read_1_1(dump(documents)) == read_1_2(dump(documents)) == documents


def test_a_policy_stands_in_the_manifest_as_it_was_written():
    policy = "# café\nversion: 1\n\nprocess:\n  run_as_user: '7'\n"

    assert dump([{"data": {"policy.yaml": policy}}]) == (
        "data:\n  policy.yaml: |\n    # café\n    version: 1\n\n    process:\n"
        "      run_as_user: '7'\n"
    )


@pytest.mark.parametrize("value", [None, 1.5, b"a", ("a",), [["a"]]])
def test_a_value_that_no_manifest_holds_is_a_mistake_of_ours(value):
    with pytest.raises(TypeError):
        dump([{"key": value}])
