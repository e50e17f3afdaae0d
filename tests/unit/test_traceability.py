"""tests/traceability.yaml covers every row it promises, with tests that exist and are collected."""

import functools
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.attack_forms import NAMES as CONTAINERS
from support.forms import FORMS

TESTS = Path(__file__).resolve().parents[1]
TABLE = YAML(typ="safe", pure=True).load(TESTS / "traceability.yaml")


def numbered(letter, *numbers):
    return {f"{letter}{number}" for number in numbers}


PROMISED = {
    "attacks": {
        *numbered("A", *range(1, 12)),
        *numbered("B", *range(1, 20)),
        *numbered("C", *range(1, 21)),
        *numbered("D", *range(1, 11)),
        *numbered("E", *range(1, 20)),
        *numbered("F", *range(1, 12)),
        *numbered("G", *range(1, 8)),
        *numbered("I", *range(1, 6)),
        *numbered("J", *range(1, 8)),
        *numbered("L", *range(1, 9), *range(12, 17)),
        *numbered("N", *range(1, 7)),
    },
    "process": numbered("T", *range(8, 47)),
    "network": {
        str(number) for number in (*range(1, 52), *range(56, 61), 66, 67, 68, *range(81, 88))
    },
}
ROWS = [(part, row) for part in PROMISED for row in TABLE[part]]
POD_FORMS = ("pod", "sidecar")
NAMESPACE_FORMS = ("namespace", *(form.name for form in FORMS if form.name not in POD_FORMS))
DEADLINE_S = 120.0


@functools.cache
def collected():
    """By day: the parameters of each test, "" where it has none, by path and name of the function."""
    files = sorted({node.split("::")[0] for _, row in ROWS for node in named_for(row)})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=--import-mode=importlib",
         "-p", "no:cacheprovider", "-p", "no:xdist", *(f"tests/{file}" for file in files)],
        capture_output=True, text=True, cwd=TESTS.parent, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = defaultdict(set)
    for line in done.stdout.splitlines():
        if line.startswith("tests/"):
            node, _, parameters = line.removeprefix("tests/").partition("[")
            found[node].add(parameters.removesuffix("]"))
    return found


def named_for(row):
    """What is named for a row, in whichever part it stands."""
    entry = next(TABLE[part][row] for part in PROMISED if row in TABLE[part])
    return tuple(entry.get("tests", ()))


def as_words(forms):
    return re.compile(rf"(^|-)({'|'.join(map(re.escape, forms))})(-|$)")


@pytest.mark.parametrize("part", PROMISED)
def test_every_row_is_listed_once_or_named_as_absent(part):
    listed, absent = list(TABLE[part]), list(TABLE["absent"][part])

    assert sorted(listed + absent) == sorted(PROMISED[part])


@pytest.mark.parametrize(("part", "row"), ROWS, ids=[f"{part}-{row}" for part, row in ROWS])
def test_a_row_names_tests_that_are_collected_or_says_why_there_is_none(part, row):
    entry = TABLE[part][row]

    assert set(entry) <= {"tests", "outcome"}
    assert entry.get("tests") or entry["outcome"]
    assert [node for node in named_for(row) if node not in collected()] == []


@pytest.mark.parametrize("row", TABLE["both_forms"])
@pytest.mark.parametrize("forms", [NAMESPACE_FORMS, POD_FORMS], ids=["namespace", "pod"])
def test_a_network_row_is_tried_in_each_form_of_the_fence(row, forms):
    wanted = as_words(forms)
    in_attacks = [node for node in named_for(row) if node.startswith("attacks/")]

    assert any(wanted.search(found) for node in in_attacks for found in collected()[node])


INSIDE = [row for _, row in ROWS if TABLE["inside"] in named_for(row)]


# In a sidecar pod the network is served, and attacked in test_network_rows.
@pytest.mark.parametrize(
    ("row", "container"),
    [(row, form) for row in INSIDE for form in CONTAINERS if (row[0], form) != ("E", "sidecar")],
)
def test_a_row_from_inside_is_tried_in_each_container(row, container):
    assert [found for found in collected()[TABLE["inside"]]
            if found.startswith(f"{row} ") and found.endswith(f"-{container}")]  # fmt: skip


def test_every_attack_from_inside_belongs_to_a_row():
    tried = {found.split(" ")[0] for found in collected()[TABLE["inside"]]}

    assert tried == set(INSIDE)
