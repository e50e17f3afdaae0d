"""The JSON Schema and the loader agree, because both come from the same shapes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from support.example_policy import EXAMPLE
from support.generated import as_document, entry_maps
from support.loading import codes_of, findings_of

from policy import presets
from policy.schema import json_schema

VALIDATOR = Draft202012Validator(json_schema())
# Errors of shape: what the schema must refuse as well. The loader's other errors are about what
# words and keys mean, which no schema says.
SHAPE = {
    "policy.unknown-key",
    "policy.missing-key",
    "policy.wrong-kind",
    "policy.unknown-word",
    "policy.out-of-range",
}


def valid(data):
    return VALIDATOR.is_valid(data)


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "text", [EXAMPLE, "version: 1\n", *(presets.text_of(name).decode() for name in presets.NAMES)]
)
def test_what_loads_is_valid(text):
    assert valid(YAML(typ="safe", pure=True).load(text))


@given(entry_maps)
def test_what_loads_is_valid_for_generated_policies(entries):
    document = json.loads(as_document(entries))

    if not codes_of(as_document(entries)):
        assert valid(document)


def places(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for key, below in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(below, (*path, key))


def changed(data, path, change):
    if not path:
        return change(data)
    if isinstance(data, dict):
        return {k: changed(v, path[1:], change) if k == path[0] else v for k, v in data.items()}
    return [changed(v, path[1:], change) if i == path[0] else v for i, v in enumerate(data)]


EXAMPLE_DATA = YAML(typ="safe", pure=True).load(EXAMPLE)
CHANGES = {
    "null": lambda _: None,
    "number": lambda _: 99999999999,
    "boolean": lambda _: True,
    "list": lambda _: [],
    "map": lambda _: {},
    "unknown word": lambda _: "no-such-word",
    "unknown key": lambda it: {**it, "no-such-key": 1} if isinstance(it, dict) else it,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_loader_refuses_for_its_shape_the_schema_refuses(change):
    """And what the schema refuses, the loader refuses: every place of the example is spoilt once."""
    for path in places(EXAMPLE_DATA):
        # A middleware's own settings are anything; further items of a list are like its first two.
        if "config" in path or any(isinstance(step, int) and step > 1 for step in path):
            continue
        document = changed(EXAMPLE_DATA, path, CHANGES[change])
        errors = {
            f.code for f in findings_of(json.dumps(document).encode()) if f.severity == "error"
        }

        if not valid(document):
            assert errors, (path, change)
        if errors and errors <= SHAPE - {"policy.missing-key"}:
            assert not valid(document), (path, change, errors)


def test_every_key_explains_itself():
    def described(schema):
        for name, below in schema.get("properties", {}).items():
            assert below.get("description"), name
            yield name
            yield from described(below)
        for inner in ("items", "additionalProperties"):
            if isinstance(schema.get(inner), dict):
                yield from described(schema[inner])
        for option in schema.get("anyOf", ()):
            yield from described(option)

    assert {"host", "deny_rules", "include_workdir", "sha256", "accept"} <= set(
        described(json_schema())
    )


def test_every_key_is_documented_in_the_page_about_writing_a_policy():
    page = (Path(presets.__file__).parents[1] / "README.md").read_text()

    def names(schema):
        yield from schema.get("properties", {})
        for below in schema.get("properties", {}).values():
            yield from names(below)
        for inner in ("items", "additionalProperties"):
            if isinstance(schema.get(inner), dict):
                yield from names(schema[inner])
        for option in schema.get("anyOf", ()):
            yield from names(option)

    missing = [name for name in names(json_schema()) if f"`{name}`" not in page]
    assert missing == []
