"""Run many commands in one sandbox with a policy, and ask afterwards how each of them ended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.forms import USER_NAMESPACE, Form, owned_workspace
from support.podman import Mount, Result, run
from support.records import events_of
from support.rootless import Rootless
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.upstreams import Upstreams

PROGRAMS = "localhost/sandbox-test/programs"
RUNNER = Path(__file__).with_name("workload_runner.py")
POLICY_FILE = "/policy/policy.yaml"
# Each command's own; npm and Java take seconds to start where cores are shared.
DEADLINE_S = 60.0
WHOLE_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one command ended; ``status`` is None where it did not."""

    status: int | None
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``ends`` by name of the command; ``events`` in order."""

    ends: dict[str, End]
    events: list[dict]

    def of(self, kind: str, **fields: object) -> list[dict]:
        """The events of this kind with these fields."""
        return [
            event
            for event in self.events
            if event["event"] == kind and fields.items() <= event.items()
        ]


def write_policy(directory: Path, text: str) -> str:
    """The policy in a directory of its own; podman's option that mounts it."""
    place = directory / "policy"
    place.mkdir()
    (place / "policy.yaml").write_text(text)
    return f"--volume={place}:/policy:ro"


def arrange(
    commands: dict[str, Sequence[str]], *, policy: str, directory: Path, files: dict[str, str]
) -> tuple[str, ...]:
    """Write workspace and policy below ``directory``; podman's options that bring them in."""
    directory.chmod(0o755)
    workspace = directory / "workspace"
    workspace.mkdir()
    rows = [
        {"name": name, "argv": list(argv), "deadline_s": DEADLINE_S}
        for name, argv in commands.items()
    ]
    for name, text in {"rows.json": json.dumps(rows), **files}.items():
        (workspace / name).write_text(text)
    return (f"--volume={workspace}:/sandbox", write_policy(directory, policy))


def line_of(form: Form) -> list[str]:
    """Our own command line: the runner as the workload."""
    return command_line(
        "/usr/bin/python3", "/opt/runner.py", "rows.json",
        verb="run", identity=form.identity, log=True,
        arguments=(f"--policy={POLICY_FILE}", *form.arguments),
    )  # fmt: skip


def outcome_of(done: Result) -> Outcome:
    """What the runner said. AssertionError where it did not come to its end."""
    found = json.loads(done.checked().stdout)
    ends = {name: End(status=end["status"], output=end["output"]) for name, end in found.items()}
    return Outcome(ends=ends, events=events_of(done.stderr))


def run_commands(
    commands: dict[str, Sequence[str]],
    *,
    upstreams: Upstreams,
    form: Form,
    policy: str,
    directory: Path,
    files: dict[str, str],
) -> Outcome:
    """Start one container that runs all ``commands``; ``files`` are put into its workspace."""
    options = arrange(commands, policy=policy, directory=directory, files=files)
    owned_workspace(directory / "workspace")
    with upstreams.attached() as network:
        done = run(
            PROGRAMS,
            *form.options,
            *upstreams.options(network),
            *options,
            entrypoint=ENTRYPOINT,
            command=line_of(form),
            mounts=(*mounts(), Mount(source=RUNNER, target="/opt/runner.py")),
            timeout_s=WHOLE_S,
        )
    return outcome_of(done)


def run_commands_rootless(
    commands: dict[str, Sequence[str]],
    *,
    upstreams: Upstreams,
    podman: Rootless,
    policy: str,
    files: dict[str, str],
) -> Outcome:
    """The same under the podman of an ordinary user, which has the image."""
    directory = podman.home / "test"
    directory.mkdir()
    options = arrange(commands, policy=policy, directory=directory, files=files)
    podman.give(directory)
    mounted = (*mounts(), Mount(source=RUNNER, target="/opt/runner.py"))
    done = podman.podman(
        *("run", "--rm", "--pull=never", "--entrypoint", ENTRYPOINT),
        *upstreams.options("slirp4netns"),
        *options,
        *(f"--volume={mount.source}:{mount.target}:ro" for mount in mounted),
        PROGRAMS,
        *line_of(USER_NAMESPACE),
    )
    return outcome_of(done)
