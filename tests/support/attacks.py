"""Run the list of attacks (tests/attacks/inside) as the workload of a real container."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from support.attack_forms import Form
from support.podman import Result
from support.sandbox import PROJECT, TREE, sandboxed
from support.sidecar_pod import sidecar_pod_on

LIST = PROJECT / "tests/attacks/inside"
HELPERS = PROJECT / "tests/attacks/helpers"
TARGET = "/opt/attacks"
MARK = "ATTACKS "
Outcomes = Mapping[str, Mapping[str, str]]


def attack(form: Form, arguments: tuple[str, ...] = ()) -> Outcomes:
    """Row and name of each attack -> {"held": …, "paired": …}, "ok" or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="sandbox-test-", dir="/tmp") as staging:
        place = Path(staging) / "attacks"
        shutil.copytree(LIST, place, ignore=shutil.ignore_patterns("__pycache__"))
        (place / "bin").mkdir()
        for source in HELPERS.glob("*.c"):
            target = place / "bin" / source.stem
            subprocess.run(["gcc", "-static", "-O1", "-o", target, source], check=True)
        command = (f"{TREE}/bin/python3", f"{TARGET}/run.py")
        mounted = f"--volume={place}:{TARGET}:ro"
        if form.in_pod:
            return outcomes_in(_in_pod(command, mounted, arguments))
        result = sandboxed(
            *command,
            identity=form.identity,
            arguments=(*form.arguments, *arguments),
            options=(*form.options, mounted),
        )
    return outcomes_in(result)


def _in_pod(command: tuple[str, ...], mounted: str, arguments: tuple[str, ...]) -> Result:
    with tempfile.TemporaryDirectory(prefix="sandbox-test-", dir="/tmp") as directory:
        policy = Path(directory) / "policy.yaml"
        policy.write_text("version: 1\n")
        with sidecar_pod_on("--network=podman", policy) as pod:
            pod.net_init().checked()
            pod.sidecar()
            agent = pod.agent(*command, arguments=arguments, options=(mounted,))
            status = agent.wait()
            logs = agent.logs()
    return Result(returncode=status, stdout=logs.stdout, stderr=logs.stderr)


def outcomes_in(result: Result) -> Outcomes:
    """The list's own report; AssertionError with everything printed if there is none."""
    for line in result.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    raise AssertionError(result)


def rows() -> list[str]:
    """Row and name of every attack, without running any."""
    line = (
        "import sys; sys.path.insert(0, sys.argv[1]); import calls, files, identity, ipc, attack;"
        "print('\\n'.join(f'{one.row} {one.name}' for one in attack.ATTACKS))"
    )
    done = subprocess.run(
        ["python3", "-B", "-c", line, LIST], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
