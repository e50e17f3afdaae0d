import json

import pytest

from supervisor.cli.explain import catalogue
from supervisor.cli.main import COMMANDS, load, main


def test_every_command_can_be_imported_and_configured():
    for name in COMMANDS:
        module = load(name)
        assert callable(module.configure)
        assert callable(module.run)


def test_explain_lists_every_code_with_a_remedy(capsys):
    assert main(["explain", "--json"]) == 0

    listed = json.loads(capsys.readouterr().out)

    assert {code["name"] for code in listed} == set(catalogue())
    assert all(code["meaning"] and code["remedy"] for code in listed)


def test_an_unknown_code_is_refused_with_its_own_code(capsys):
    assert main(["explain", "--json", "no.such"]) == 1

    assert json.loads(capsys.readouterr().out)["error"]["code"] == "cli.unknown-code"


def test_no_command_is_a_usage_error():
    with pytest.raises(SystemExit) as stopped:
        main([])

    assert stopped.value.code == 2
