"""tests/traceability.yaml covers every row it promises and names only tests that exist."""

import ast
import functools
from pathlib import Path

import pytest
from ruamel.yaml import YAML

TESTS = Path(__file__).resolve().parents[1]
TABLE = YAML(typ="safe", pure=True).load(TESTS / "traceability.yaml")
PROMISED = {
    "attacks": {
        *(f"A{number}" for number in range(1, 12)),
        *(f"B{number}" for number in (1, 2, 3, 4, 11, 17)),
        *(f"G{number}" for number in range(1, 8)),
        *("C19", "C20", "L5", "L6", "L7", "L15", "L16", "N4", "N5"),
    },
    "process": {f"T{number}" for number in range(8, 47)},
    "network": {str(number) for number in range(1, 52)},
}
ROWS = [(part, row) for part in PROMISED for row in TABLE[part]]


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions of one file."""
    functions = ast.walk(ast.parse((TESTS / path).read_text()))
    return frozenset(node.name for node in functions if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("part", PROMISED)
def test_every_row_is_listed_once_or_named_as_absent(part):
    listed, absent = list(TABLE[part]), list(TABLE["absent"][part])

    assert sorted(listed + absent) == sorted(PROMISED[part])


@pytest.mark.parametrize(("part", "row"), ROWS, ids=[f"{part}-{row}" for part, row in ROWS])
def test_a_row_names_tests_that_exist_or_says_why_there_is_none(part, row):
    entry = TABLE[part][row]

    assert set(entry) <= {"tests", "outcome"}
    assert entry.get("tests") or entry["outcome"]
    for node in entry.get("tests", ()):
        path, name = node.split("::")
        assert name.startswith("test_")
        assert name in names_in(path), node
