"""Run the runtime's launcher in an image's root file system under strace, from outside.

Nothing of the image takes part in starting it: a forked process of ours mounts the runtime and
/proc there, enters the root and executes the launcher. strace stands outside and sees all of it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

RUNTIME = "/opt/sandbox-supervisor"
TIMEOUT_S = 120.0
# strace's line for a call that names a path: PID call(…"path"…) = result
CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<arguments>.*)$")
# a path, with the directory that it is relative to where strace knows one
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<directory>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
PREPARE = """
set -e
mount --make-rprivate /
ip link set lo up
ip link add eth0 type veth peer name far
ip address add 198.51.100.2/24 dev eth0
ip link set eth0 up
ip link set far up
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mkdir -p "$2/root/proc" "$2/root/sys"
mount -t proc proc "$2/root/proc"
mount -t sysfs sysfs "$2/root/sys"
mount --bind "$3" "$2/root$4"
shift 4
exec "$@"
"""
ENTER = """
import ctypes, os, sys
root, directory, *command = sys.argv[1:]
# As a container engine does it: the root of the mount namespace itself, not a chroot in another.
os.chdir(root)
libc = ctypes.CDLL(None, use_errno=True)
if libc.pivot_root(b".", b".") != 0 or libc.umount2(b".", 2) != 0:
    raise OSError(ctypes.get_errno(), "pivot_root")
os.chdir(directory)
os.execve(command[0], command, dict(pair.split("=", 1) for pair in sys.stdin.read().split("\\0") if pair))
"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Named:
    """One path in one system call; ``located``: with O_PATH, so that nothing was read from it."""

    call: str
    path: str
    located: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """How the traced command ended, and each path it named, in order."""

    returncode: int
    stdout: str
    stderr: str
    paths: tuple[Named, ...]


def traced(
    image: Path,
    runtime: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str,
    scratch: Path,
    files: Mapping[str, str] = MappingProxyType({}),
) -> Trace:
    """Execute ``command`` as PID 1 in ``image`` and record every call that names a path.

    ``command`` has paths inside the image, whose files it may change in a layer of its own, which
    ``files`` (path to text) are put into. ``scratch`` is an empty directory. The network is a
    namespace of its own with one interface, behind which nobody answers.
    """
    root, log = scratch / "root", scratch / "strace.log"
    for name in ("root", "upper", "work"):
        (scratch / name).mkdir()
    for path, text in files.items():
        place = scratch / "upper" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    strace = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file", "-o", log]
    namespaces = ["unshare", "--mount", "--pid", "--net", "--fork"]
    prepare = ["sh", "-c", PREPARE, "prepare", image, scratch, runtime, RUNTIME]
    enter = [sys.executable, "-I", "-S", "-c", ENTER, root, directory]
    done = subprocess.run(
        [*strace, *namespaces, *prepare, *enter, *command],
        input="\0".join(f"{name}={value}" for name, value in environment.items()),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return Trace(
        returncode=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        paths=tuple(_paths_after(log, command[0], root)),
    )


def _paths_after(log: Path, program: str, root: Path) -> list[Named]:
    """What was named from the execution of ``program`` on, paths as seen inside ``root``."""
    found: list[Named] = []
    began = False
    for line in log.read_text(errors="backslashreplace").splitlines():
        call = CALL.match(line)
        if call is None or call["name"] == "getcwd":  # its string is an answer, not a question
            continue
        began = began or line.split(maxsplit=1)[1].startswith(f'execve("{program}"')
        if began:
            # further strings are the arguments of execve, and what readlink answered
            given = list(PATH.finditer(call["arguments"]))
            wanted = given[:1] if call["name"].startswith(("exec", "readlink")) else given
            located = "O_PATH" in line
            found += [
                Named(call=call["name"], path=_resolved(match, str(root)), located=located)
                for match in wanted
            ]
    return found


def _resolved(match: re.Match[str], root: str) -> str:
    if not match["path"] or match["path"].startswith("/") or match["directory"] is None:
        return match["path"]
    return os.path.join("/", match["directory"].removeprefix(root), match["path"])
