"""Every shipped preset does what it says: its allow and deny corpora hold."""

from pathlib import Path

import pytest
from support.loading import codes_of, findings_of, loaded

from policy import presets
from policy.expectations import check, read_expectations
from policy.index import compile_policy
from policy.load import load
from policy.model import Extensions

FOLDER = Path(presets.__file__).parent


def test_every_preset_file_is_listed_and_has_a_corpus():
    files = {path.name for path in FOLDER.glob("*.yaml")}

    assert files == {f"{name}{end}" for name in presets.NAMES for end in (".yaml", ".test.yaml")}


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_allows_and_refuses_what_its_corpus_says(name):
    suite = read_expectations((FOLDER / f"{name}.test.yaml").read_bytes(), file=name)
    index = compile_policy(load(presets.text_of(name), file=name))

    outcomes = [check(index, expectation) for expectation in suite.expectations]

    assert [(it.expectation.name, it.answer.code.name) for it in outcomes if not it.passed] == []
    assert {it.expectation.expected for it in outcomes} == {"allow", "deny"}
    assert suite.preset == name


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_is_entries_and_nothing_else(name):
    policy = load(presets.text_of(name), file=name)

    assert policy.network_policies
    assert policy.supervisor == Extensions()
    assert (policy.filesystem.read_only, policy.filesystem.read_write) == ((), ())
    assert {finding.severity for finding in policy.findings} <= {"not-enforced"}


def test_an_included_preset_brings_its_entries_with_their_origin():
    policy = loaded("version: 1\nsupervisor: {presets: [pypi, debian]}\n")

    assert [entry.key for entry in policy.network_policies] == ["pypi", "debian"]
    assert policy.network_policies[0].origin.file == "preset:pypi"
    assert policy.supervisor.presets == ("pypi", "debian")


def test_an_included_preset_can_be_given_to_certain_programs():
    policy = loaded(
        "version: 1\nsupervisor: {presets: [{name: pypi, binaries: [{path: /usr/bin/pip}]}]}\n"
    )

    assert [it.path.text for it in policy.network_policies[0].binaries] == ["/usr/bin/pip"]


@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("[PyPI]", "policy.unknown-word"),
        ("[pypi, pypi]", "policy.preset-entry"),
        ("[{binaries: [{path: /x}]}]", "policy.missing-key"),
        ("[{name: pypi, binaries: []}]", "policy.out-of-range"),
        ("pypi", "policy.wrong-kind"),
    ],
)
def test_an_inclusion_that_means_nothing_is_refused(section, code):
    assert codes_of(f"version: 1\nsupervisor: {{presets: {section}}}\n") == {code}


def test_an_entry_named_like_one_of_an_included_preset_is_refused():
    text = """
        version: 1
        supervisor: {presets: [pypi]}
        network_policies:
          pypi: {endpoints: [{host: a.example.com, port: 1}], binaries: [{path: /x}]}
        """

    assert codes_of(text) == {"policy.preset-entry"}


def test_findings_about_a_preset_name_it_as_their_file():
    found = findings_of("version: 1\nsupervisor: {presets: [pypi]}\n")

    assert {(f.file, f.code) for f in found} == {
        ("preset:pypi", "policy.not-enforced.request-rules")
    }
