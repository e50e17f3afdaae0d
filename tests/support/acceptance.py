"""Run many commands in one sandbox with a policy, and ask afterwards how each of them ended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.forms import SIDECAR, USER_NAMESPACE, Form, owned_workspace
from support.podman import Mount, Result, run
from support.records import events_of
from support.rootless import Rootless
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.sidecar_pod import sidecar_pod_on
from support.upstreams import Upstreams

PROGRAMS = "localhost/sandbox-test/programs"
RUNNER = Path(__file__).with_name("workload_runner.py")
COMMAND = ("/usr/bin/python3", "/opt/runner.py", "rows.json")
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


def arrange(commands: dict[str, Sequence[str]], *, directory: Path, files: dict[str, str]) -> str:
    """Write the workspace below ``directory``; podman's option that brings it in."""
    directory.chmod(0o755)
    workspace = directory / "workspace"
    workspace.mkdir()
    rows = [
        {"name": name, "argv": list(argv), "deadline_s": DEADLINE_S}
        for name, argv in commands.items()
    ]
    for name, text in {"rows.json": json.dumps(rows), **files}.items():
        (workspace / name).write_text(text)
    return f"--volume={workspace}:/sandbox"


def run_in_form(
    form: Form,
    *command: str,
    policy: str,
    directory: Path,
    network: str,
    options: Sequence[str] = (),
    mounted: Sequence[Mount] = (),
    timeout_s: float = WHOLE_S,
) -> Result:
    """Run ``command`` sandboxed in the image of programs; in a sidecar pod, both halves' logs
    are the result's.
    """
    given = write_policy(directory, policy)
    if form is SIDECAR:
        return _run_in_sidecar_pod(
            *command,
            policy=directory / "policy/policy.yaml",
            network=network,
            options=(*options, *(f"--volume={one.source}:{one.target}:ro" for one in mounted)),
            timeout_s=timeout_s,
        )
    arguments = (f"--policy={POLICY_FILE}", *form.arguments)
    return run(
        PROGRAMS,
        *form.options,
        network,
        given,
        *options,
        entrypoint=ENTRYPOINT,
        command=command_line(
            *command, verb="run", identity=form.identity, arguments=arguments, log=True
        ),
        mounts=(*mounts(), *mounted),
        timeout_s=timeout_s,
    )


def _run_in_sidecar_pod(
    *command: str, policy: Path, network: str, options: Sequence[str], timeout_s: float
) -> Result:
    # One file of names for the sidecar as well, which asks in the workload's place.
    common = [option for option in options if option.endswith(":/etc/resolv.conf:ro")]
    own = [option for option in options if option not in common]
    with sidecar_pod_on(network, policy, common) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        agent = pod.agent(*command, options=own, image=PROGRAMS, workdir="/sandbox")
        status = agent.wait(timeout_s=timeout_s)
        sidecar.wait()
        said, told = agent.logs(), sidecar.logs()
    return Result(returncode=status, stdout=said.stdout, stderr=said.stderr + told.stderr)


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
    workspace = arrange(commands, directory=directory, files=files)
    owned_workspace(directory / "workspace")
    with upstreams.attached() as attached:
        network, *trusted = upstreams.options(attached)
        done = run_in_form(
            form,
            *COMMAND,
            policy=policy,
            directory=directory,
            network=network,
            options=(*trusted, workspace),
            mounted=(Mount(source=RUNNER, target="/opt/runner.py"),),
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
    workspace = arrange(commands, directory=directory, files=files)
    given = write_policy(directory, policy)
    podman.give(directory)
    mounted = (*mounts(), Mount(source=RUNNER, target="/opt/runner.py"))
    done = podman.podman(
        *("run", "--rm", "--pull=never", "--entrypoint", ENTRYPOINT),
        *upstreams.options("slirp4netns"),
        workspace,
        given,
        *(f"--volume={mount.source}:{mount.target}:ro" for mount in mounted),
        PROGRAMS,
        *command_line(
            *COMMAND,
            verb="run",
            identity=USER_NAMESPACE.identity,
            log=True,
            arguments=(f"--policy={POLICY_FILE}",),
        ),
    )
    return outcome_of(done)
