"""The page "Writing a policy" can be followed as it stands: its examples run."""

import re
from pathlib import Path

import pytest
from support.loading import loaded

from policy import builtin, presets, words
from policy.expectations import check, read_expectations
from policy.index import compile_policy
from supervisor.cli.main import main

PAGE = (Path(presets.__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CONSOLES = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


def block_with(text):
    (found,) = (block for block in BLOCKS if text in block)
    return found if found.startswith("version") else f"version: 1\n{found}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if "tests:" not in block])
def test_every_example_policy_loads(block):
    loaded(block if block.startswith("version") else f"version: 1\n{block}")


def test_the_example_expectations_hold_for_the_example_rules():
    suite = read_expectations(block_with("tests:").encode(), file="agent.test.yaml")
    index = compile_policy(loaded(block_with("/v3/repos/acme/*/issues")))

    outcomes = [check(index, expectation) for expectation in suite.expectations]

    assert [it.answer.cause for it in outcomes if not it.passed] == []
    assert f"{len(outcomes)} of {len(outcomes)} expectations hold" in PAGE


@pytest.mark.parametrize(
    ("console", "policy"),
    [
        (CONSOLES[0], "version: 1\n"),
        (CONSOLES[1], "version: 1\n"),
        (CONSOLES[2], block_with("/v3/repos/acme/*/issues")),
    ],
)
def test_what_the_page_says_a_command_prints_is_what_it_prints(
    console, policy, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("agent.yaml").write_text(policy)
    command, _, expected = console.partition("\n")

    main(command.removeprefix("$ sandbox-supervisor ").split())

    assert capsys.readouterr().out == expected


def test_the_page_lists_every_preset_control_feature_and_baseline_path():
    names = (*presets.NAMES, *words.CONTROLS, *words.FEATURES)

    assert [name for name in names if f"`{name}`" not in PAGE] == []
    assert [entry.path for entry in builtin.BASELINE if entry.path not in PAGE] == []
