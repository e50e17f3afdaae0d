import json
import os
import subprocess
import sys

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


BUFFERED = pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])


def explained(stdout, *, buffered):
    """``explain`` in a process of its own; its status, and what it said on stderr."""
    environment = os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"}
    command = [sys.executable, "-m", "supervisor", "explain", "policy.tag"]
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment
    )
    return done.returncode, done.stderr


@BUFFERED
def test_an_error_that_nobody_expected_has_a_code_before_its_traceback(buffered):
    with open("/dev/full", "w") as full:
        status, said = explained(full, buffered=buffered)

    first, cause, remedy, trace = said.split("\n", 3)
    assert first == "sandbox-supervisor: refused: cli.internal-error"
    assert cause.endswith("OSError: [Errno 28] No space left on device")
    assert remedy.startswith("  remedy: ")
    assert trace.startswith("Traceback")
    # Python tries once more at its end what is still in its buffer, and has a status for that.
    assert status == (120 if buffered else 1)


@BUFFERED
def test_a_reader_that_has_seen_enough_is_no_error(buffered):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        status, said = explained(closed, buffered=buffered)

    assert (status, said) == (1, "")
