"""``scripts/run``, the first command that a user types."""

import os
import subprocess

import pytest

from images.runtime.build import PROJECT

# Setting up takes seconds when nothing is missing; the container and the workload some more.
TIMEOUT_S = 240.0


def scripts_run(*arguments, **variables):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SANDBOX_")}
    return subprocess.run(
        ["scripts/run", *arguments],
        cwd=PROJECT,
        env=inherited | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_a_command_runs_sandboxed_and_says_who_it_is():
    done = scripts_run("--", "id")

    assert done.stdout == "uid=1000(1000) gid=1000(1000) groups=1000(1000)\n", done.stderr
    assert "sandbox.started" in done.stderr


def test_the_identity_passes_through_and_the_exit_status_comes_back():
    done = scripts_run("--", "sh", "-c", "id -u; exit 7", SANDBOX_UID="4242", SANDBOX_GID="4343")

    assert (done.returncode, done.stdout) == (7, "4242\n"), done.stderr


def test_a_policy_file_reaches_the_supervisor_from_outside(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text('version: 1\nprocess:\n  run_as_user: "1234"\n  run_as_group: "1234"\n')

    done = scripts_run("--policy", str(policy), "--", "id", "-u")

    assert (done.returncode, done.stdout) == (0, "1234\n"), done.stderr


def test_root_is_refused_with_the_supervisors_own_status():
    done = scripts_run("--", "id", SANDBOX_UID="0", SANDBOX_GID="0")

    assert done.returncode == 125
    assert "identity.root" in done.stderr


@pytest.mark.parametrize("arguments", [["id"], ["--policy"], ["--policy", "/no/such/file"]])
def test_a_mistake_on_the_command_line_starts_nothing(arguments):
    done = scripts_run(*arguments)

    assert done.returncode in {1, 2}
    assert done.stderr
    assert done.stdout == ""


def test_what_lies_upstream_passes_through_and_is_checked_there(tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text("jo:hunter2\n")
    credentials.chmod(0o400)
    given = ("--upstream-proxy", "http://proxy.corp:3128", "--no-proxy", ".corp")
    started = scripts_run(*given, "--upstream-proxy-credentials", str(credentials), "--", "true")
    refused = scripts_run("--no-proxy", ".corp", "--", "true")

    assert started.returncode == 0, started.stderr
    assert refused.returncode == 125
    assert "upstream.without-proxy" in refused.stderr
