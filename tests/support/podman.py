"""The podman command line, as the container tests need it.

Every container has a name of its own and is gone when the call or the ``with`` block ends.
podman runs under a configuration file of ours (runc; limits that need no CAP_SYS_RESOURCE), so
that tests behave alike on machines with hybrid cgroups and without full privileges. That file is
for tests only: scripts/run decides for itself what a user's machine needs.
"""

import functools
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# One podman command on a busy two-core machine; a container that hangs must fail its test soon.
TIMEOUT_S = 90.0
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
"""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a container or a podman command ended. Undecodable output bytes are escaped."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, for assertions on what must not appear anywhere."""
        return self.stdout + self.stderr

    def checked(self) -> "Result":
        """This result, or AssertionError with everything that was printed if it failed."""
        assert self.returncode == 0, f"exit status {self.returncode}\n{self.stdout}\n{self.stderr}"
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A bind mount, read-only unless said otherwise."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container."""

    name: str

    def kill(self, signal_name: str) -> None:
        """Send a signal to PID 1."""
        podman("kill", "--signal", signal_name, self.name).checked()

    def wait(self, *, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for the end; the exit status."""
        return int(podman("wait", self.name, timeout_s=timeout_s).checked().stdout)

    def logs(self) -> Result:
        """What it printed so far."""
        return podman("logs", self.name)

    def exec(self, *command: str, user: str | None = None) -> Result:
        """Run a command inside the container (not inside the sandbox)."""
        return podman("exec", *_option("--user", user), self.name, *command)

    def host_pid(self) -> int:
        """The process id of PID 1 as this machine sees it."""
        found = podman("inspect", "--format", "{{.State.Pid}}", self.name).checked()
        return int(found.stdout)


@functools.cache
def configuration() -> Path:
    """The file for CONTAINERS_CONF, made once for this process."""
    handle, name = tempfile.mkstemp(prefix="sandbox-test-", suffix=".conf")
    with os.fdopen(handle, "w") as file:
        file.write(CONFIGURATION)
    return Path(name)


def environment() -> dict[str, str]:
    """The environment for a podman process."""
    return {**os.environ, "CONTAINERS_CONF": str(configuration())}


def podman(*arguments: str | Path, timeout_s: float = TIMEOUT_S, stdin: str = "") -> Result:
    """Run one podman command to its end; subprocess.TimeoutExpired after ``timeout_s``."""
    done = subprocess.run(
        ["podman", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        env=environment(),
        timeout=timeout_s,
    )
    return Result(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def run(
    image: str,
    *options: str,
    entrypoint: str | None = None,
    command: Sequence[str] = (),
    user: str | None = None,
    caps: Sequence[str] | None = None,
    mounts: Sequence[Mount] = (),
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Result:
    """Run a container to its end.

    ``options`` are further ``podman run`` options. ``caps`` None keeps podman's default set; a
    sequence is exactly that set, so ``()`` drops all. Removed even when it times out.
    """
    with _cleaned_up() as name:
        line = _create_line(name, options, entrypoint, user, caps, mounts, env or {})
        interactive = ("--interactive",) if stdin else ()
        return podman(
            *("run", "--rm", *interactive, *line, image, *command),
            stdin=stdin,
            timeout_s=timeout_s,
        )


@contextmanager
def running(
    image: str,
    *options: str,
    entrypoint: str | None = None,
    command: Sequence[str] = (),
    user: str | None = None,
    caps: Sequence[str] | None = None,
    mounts: Sequence[Mount] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Container]:
    """Start a container in the background; it is removed with the block. Options as in ``run``."""
    with _cleaned_up() as name:
        line = _create_line(name, options, entrypoint, user, caps, mounts, env or {})
        podman("run", "--detach", *line, image, *command).checked()
        yield Container(name=name)


def has_image(name: str) -> bool:
    """Whether the local store has an image of this full name."""
    return podman("image", "exists", name).returncode == 0


def build(tag: str, context: Path, **arguments: str) -> None:
    """Build ``context/Containerfile``; keyword arguments are build arguments."""
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    podman("build", "--quiet", "--tag", tag, *given, context, timeout_s=600).checked()


@contextmanager
def image_root(name: str) -> Iterator[Path]:
    """The image's files, mounted read-only on this machine."""
    where = podman("image", "mount", name).checked().stdout.strip()
    try:
        yield Path(where)
    finally:
        podman("image", "unmount", name).checked()


def image_environment(name: str) -> dict[str, str]:
    """The variables that the image declares."""
    found = podman("image", "inspect", "--format", "{{json .Config.Env}}", name).checked()
    return dict(pair.split("=", 1) for pair in json.loads(found.stdout))


@contextmanager
def _cleaned_up() -> Iterator[str]:
    name = f"sandbox-test-{os.getpid()}-{next(_numbers)}"
    try:
        yield name
    finally:
        podman("rm", "--force", "--ignore", "--time", "0", "--volumes", name)


def _create_line(
    name: str,
    options: Sequence[str],
    entrypoint: str | None,
    user: str | None,
    caps: Sequence[str] | None,
    mounts: Sequence[Mount],
    env: Mapping[str, str],
) -> list[str]:
    line = ["--name", name, "--pull", "never", *options]
    line += [*_option("--entrypoint", entrypoint), *_option("--user", user)]
    if caps is not None:
        line += ["--cap-drop", "ALL", *(f"--cap-add={cap}" for cap in caps)]
    for mount in mounts:
        mode = "rw" if mount.writable else "ro"
        line += ["--volume", f"{mount.source}:{mount.target}:{mode}"]
    return line + [f"--env={key}={value}" for key, value in env.items()]


def _option(name: str, value: str | None) -> tuple[str, ...]:
    return () if value is None else (name, value)
