"""Run the programs that the build is made of, and stop with a reason when one fails."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class BuildFailed(Exception):  # noqa: N818 - named like supervisor.errors.Refusal: what happened
    """The runtime cannot be built: what is wrong, and what helps."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}\n  remedy: {remedy}")
        self.cause = cause
        self.remedy = remedy


def run(
    *argv: str | Path,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
    remedy: str = "Run scripts/setup, which installs every tool that the build needs.",
) -> str:
    """Run a program to its end and return its standard output; BuildFailed when it fails.

    ``variables`` are added to this process' environment.
    """
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as missing:
        raise BuildFailed(f"{command[0]}: not found", remedy) from missing
    if done.returncode != 0:
        words = " ".join(command[:6])
        raise BuildFailed(f"{words} …: exit status {done.returncode}\n{done.stderr}", remedy)
    return done.stdout
