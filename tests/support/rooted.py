"""Run the runtime's launcher in an image's root file system under strace, from outside.

Nothing of the image takes part in starting it: a forked process of ours mounts the runtime and
/proc there, enters the root and executes the launcher. strace stands outside and sees all of it.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUNTIME = "/opt/sandbox-supervisor"
TIMEOUT_S = 120.0
# strace's line for a call that names a path: PID call(…"path"…) = result
CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<arguments>.*)$")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
ENTER = """
import os, sys
root, directory, *command = sys.argv[1:]
os.chroot(root)
os.chdir(directory)
os.execve(command[0], command, dict(pair.split("=", 1) for pair in sys.stdin.read().split("\\0") if pair))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """How the traced command ended, and each path it named, as (system call, path)."""

    returncode: int
    stdout: str
    stderr: str
    paths: tuple[tuple[str, str], ...]


def traced(
    root: Path,
    runtime: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str,
    log: Path,
) -> Trace:
    """Execute ``command`` (absolute paths inside ``root``) and record every call that names a path."""
    script = (
        'set -e; mount --make-rprivate /; mount -t proc proc "$0/proc"; '
        f'mount --bind "{runtime}" "$0{RUNTIME}"; exec "$@"'
    )
    strace = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", str(log)]
    enter = [sys.executable, "-I", "-S", "-c", ENTER, str(root), directory, *command]
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, str(root), *strace, *enter],
        input="\0".join(f"{name}={value}" for name, value in environment.items()),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return Trace(
        returncode=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        paths=tuple(_paths_after(log, command[0])),
    )


def _paths_after(log: Path, program: str) -> list[tuple[str, str]]:
    """The (call, path) pairs from the execution of ``program`` on."""
    found: list[tuple[str, str]] = []
    began = False
    for line in log.read_text(errors="backslashreplace").splitlines():
        call = CALL.match(line)
        if call is None or call["name"] == "getcwd":  # its string is an answer, not a question
            continue
        began = began or line.split(maxsplit=1)[1].startswith(f'execve("{program}"')
        if began:
            # of execve only the first string is a path, the others are its arguments
            strings = PATH.findall(call["arguments"])
            wanted = strings[:1] if call["name"] == "execve" else strings
            found += [(call["name"], path) for path in wanted]
    return found
