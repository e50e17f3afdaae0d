"""The tables of policy/vectors.md, line by line: they are documentation because they are tests."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import policy
from policy import codes
from policy.findings import PatternError
from policy.host import HostPattern, canonical_host
from policy.path import PathPattern, canonical_path
from policy.query import QueryPattern

_TEXT = (Path(policy.__file__).parent / "vectors.md").read_text()


def table(title: str) -> list[list[list[str]]]:
    """The rows under a heading; each cell is the list of its backquoted texts."""
    section = _TEXT.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    rows = [[_texts(cell) for cell in line[1:].split(" |")[:-1]] for line in lines]
    assert rows, title
    return rows


def _texts(cell: str) -> list[str]:
    return [json.loads(f'"{text}"') for text in re.findall(r"`([^`]*)`", cell)]


def code_of(call, *arguments) -> str:
    with pytest.raises(PatternError) as refused:
        call(*arguments)
    assert refused.value.remedy
    assert refused.value.code in codes.catalogue()
    return refused.value.code


@pytest.mark.parametrize(("written", "expected"), table("Hosts: one canonical form"))
def test_a_host_has_one_canonical_form_or_is_refused(written, expected):
    if expected[0].startswith("policy."):
        assert code_of(canonical_host, written[0]) == expected[0]
    else:
        assert canonical_host(written[0]).text == expected[0]


@pytest.mark.parametrize(("pattern", "yes", "no"), table("Host patterns: what matches"))
def test_a_host_pattern_matches_what_the_table_says(pattern, yes, no):
    parsed = HostPattern.parse(pattern[0])
    assert [t for t in yes if not parsed.matches(canonical_host(t))] == []
    assert [t for t in no if parsed.matches(canonical_host(t))] == []
    assert HostPattern.parse(parsed.text) == parsed


@pytest.mark.parametrize(("pattern", "code"), table("Host patterns: what is refused"))
def test_a_host_pattern_outside_the_dialect_is_refused(pattern, code):
    assert code_of(HostPattern.parse, pattern[0]) == code[0]


@pytest.mark.parametrize(("received", "expected"), table("Paths: one canonical form"))
def test_a_path_has_one_canonical_form_or_is_refused(received, expected):
    if expected[0].startswith("policy."):
        assert code_of(canonical_path, received[0]) == expected[0]
    else:
        assert canonical_path(received[0]) == expected[0]


@pytest.mark.parametrize(("pattern", "yes", "no"), table("Path patterns: what matches"))
def test_a_path_pattern_matches_what_the_table_says(pattern, yes, no):
    parsed = PathPattern.parse(pattern[0])
    assert [t for t in yes if not parsed.matches(t)] == []
    assert [t for t in no if parsed.matches(t)] == []


@pytest.mark.parametrize(("pattern", "code"), table("Path patterns: what is refused"))
def test_a_path_pattern_outside_the_dialect_is_refused(pattern, code):
    assert code_of(PathPattern.parse, pattern[0]) == code[0]


@pytest.mark.parametrize(("pattern", "yes", "no"), table("Value patterns"))
def test_a_value_pattern_matches_what_the_table_says(pattern, yes, no):
    parsed = QueryPattern.parse(pattern[0])
    assert [t for t in yes if not parsed.matches(t)] == []
    assert [t for t in no if parsed.matches(t)] == []


def test_after_import_tables_an_international_name_imports_nothing_more():
    program = (
        "import sys; from policy.host import canonical_host, import_tables; import_tables(); "
        "before = set(sys.modules); canonical_host('BÜCHER.example'); "
        "canonical_host('xn--bcher-kva.example'); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(policy.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
