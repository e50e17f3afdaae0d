"""Run a workload sandboxed in a real container, as a user would."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.podman import Container, Mount, Result, run, running
from support.records import events_of
from support.waiting import until

PROJECT = Path(__file__).resolve().parents[2]
RUNTIME = Path(os.environ.get("SANDBOX_RUNTIME", PROJECT / ".build/runtime"))
TREE = "/opt/sandbox-supervisor"
ENTRYPOINT = f"{TREE}/sandbox-supervisor"
DEBIAN = "localhost/sandbox-test/debian"
IDENTITY = 4242
AS_4242 = (f"--uid={IDENTITY}", f"--gid={IDENTITY}")


def mounts() -> tuple[Mount, ...]:
    """The runtime, read-only, where images expect it."""
    return (Mount(source=RUNTIME, target=TREE),)


def command_line(
    *command: str, verb: str, identity: Sequence[str], arguments: Sequence[str], log: bool
) -> list[str]:
    """The words behind the entrypoint."""
    logged = ("--log-format=json",) if log else ()
    behind = ("--", *command) if command else ()
    return [verb, *identity, *logged, *arguments, *behind]


def sandboxed(
    *command: str,
    image: str = DEBIAN,
    verb: str = "run",
    identity: Sequence[str] = AS_4242,
    arguments: Sequence[str] = (),
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    log: bool = True,
) -> Result:
    """``podman run`` with our entrypoint; ``options`` are podman's, ``arguments`` are ours."""
    given = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    return run(
        image,
        *options,
        *given,
        entrypoint=ENTRYPOINT,
        command=command_line(*command, verb=verb, identity=identity, arguments=arguments, log=log),
        mounts=mounts(),
    )


@contextmanager
def sandbox(
    *command: str,
    arguments: Sequence[str] = (),
    options: Sequence[str] = (),
    image: str = DEBIAN,
    identity: Sequence[str] = AS_4242,
) -> Iterator[Container]:
    """The same in the background, for as long as the block lasts."""
    line = command_line(*command, verb="run", identity=identity, arguments=arguments, log=True)
    with running(
        image, *options, entrypoint=ENTRYPOINT, command=line, mounts=mounts()
    ) as container:
        yield container


def wait_for(container: Container, text: str) -> str:
    """What the container printed, as soon as ``text`` is in it."""

    def printed() -> str | None:
        stdout = container.logs().stdout
        return stdout if text in stdout else None

    return until(printed, container.logs)


def events(container: Container) -> list[dict]:
    """The records that its supervisor logged so far, flat."""
    return events_of(container.logs().stderr)


def wait_for_event(container: Container, name: str, **fields: object) -> dict:
    """The first record of this name with these fields."""

    def found() -> dict | None:
        wanted = fields | {"event": name}
        return next((one for one in events(container) if wanted.items() <= one.items()), None)

    return until(found, container.logs)


def fields_of(status: str) -> dict[str, str]:
    """``/proc/PID/status`` as a mapping, white space folded."""
    pairs = (line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: " ".join(value.split()) for name, value in pairs}


def refusal_of(result: Result) -> dict[str, str]:
    """The refusal that was logged; AssertionError with everything printed if there is none."""
    for event in events_of(result.stderr):
        if event["event"] == "start.refused":
            return event
    raise AssertionError(result)
