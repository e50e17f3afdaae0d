"""The example pods, unchanged, under ``podman kube play``: their workloads really run, confined."""

import os
from contextlib import contextmanager, redirect_stdout

import pytest
from support.podman import build, podman
from support.records import events_of

from images.pods import examples
from supervisor.cli.main import main

# Another build of the image than the one that scripts/setup made.
SUPERVISOR_IMAGE = os.environ.get("SUPERVISOR_IMAGE", "localhost/sandbox-supervisor")


@contextmanager
def played(path):
    """Play a manifest; its pod and volumes are gone with the block."""
    try:
        podman("kube", "play", path).checked()
        yield
    finally:
        podman("kube", "down", path)
        # podman leaves the volumes of ConfigMaps and claims; the file is named after the pod
        names = podman("volume", "ls", "--quiet").checked().stdout.split()
        ours = [name for name in names if name.startswith(f"{path.stem}-")]
        if ours:
            podman("volume", "rm", "--force", *ours)


def finished(container):
    """Wait for the end; exit status and what it printed."""
    status = int(podman("wait", container).checked().stdout)
    return status, podman("logs", container)


def written(path, *words, name, command, image="localhost/sandbox-agent"):
    """A manifest of our own making, in a file."""
    with path.open("w") as file, redirect_stdout(file):
        images = ("--image", image, "--supervisor-image", SUPERVISOR_IMAGE)
        options = ("--name", name, *images, "--pull-policy", "Never")
        assert main(["manifest", "pod", *options, *words, "--", *command]) == 0
    return path


def test_the_combined_example_runs_its_workload(images, tmp_path):
    manifest = tmp_path / "sandbox-combined.yaml"
    text = (examples.HERE / "combined.yaml").read_text()
    manifest.write_text(text.replace("localhost/sandbox-supervisor", SUPERVISOR_IMAGE))

    with played(manifest):
        status, logs = finished("sandbox-combined-agent")

    assert status == 0, logs.output
    assert "uid=1000 gid=1000 groups=1000\nhello\n" in logs.stdout
    started = next(one for one in events_of(logs.stderr) if one["event"] == "sandbox.started")
    held = {control["name"]: control["state"] for control in started["report"]["controls"]}
    assert held["privileges"] == held["network"] == "enforced"


def test_the_sidecar_example_runs_its_workload_and_both_halves_end_with_it(images, tmp_path):
    manifest = tmp_path / "sandbox-sidecar.yaml"
    text = (examples.HERE / "sidecar.yaml").read_text()
    manifest.write_text(text.replace("localhost/sandbox-supervisor", SUPERVISOR_IMAGE))

    with played(manifest):
        status, logs = finished("sandbox-sidecar-agent")
        sidecar, served = finished("sandbox-sidecar-sidecar")

    assert (status, sidecar) == (0, 0), logs.output + served.output
    assert logs.stdout == "uid=1000(1000) gid=1000(1000) groups=1000(1000)\nhello\n"
    started = next(one for one in events_of(logs.stderr) if one["event"] == "sandbox.started")
    held = {control["name"]: control["state"] for control in started["report"]["controls"]}
    assert held["privileges"] == held["network"] == "enforced"
    assert "rules, read back" in served.stderr
    assert "agent.started" in served.stderr


@pytest.fixture
def probe(images, tmp_path):
    """What a workload sees of its pod, with ids, groups, variables and directories of its own."""
    script = (
        "id -u; id -g; id -G; grep -E '^(Cap...|NoNewPrivs|Groups):' /proc/self/status; echo [$GREETING]; "
        "for place in /sandbox /tmp /dev/shm /home/agent; do "
        "  echo x > $place/new && echo wrote $place; done; "
        "for place in /etc /opt/sandbox-supervisor /run/sandbox-policy /; do "
        "  echo x 2>/dev/null > $place/new || echo kept $place; done; "
        "cat /run/sandbox-policy/policy.yaml 2>/dev/null || echo no policy; exit 7"
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nfilesystem_policy: {include_workdir: true, read_write: [/tmp, /home/agent]}\n"
    )
    manifest = written(
        tmp_path / "sandbox-test-probe.yaml",
        *("--policy", str(policy), "--uid", "4242", "--gid", "4343", "--groups", "7,8"),
        *("--env", "GREETING=a 'b' \"c\" é", "--writable", "/home/agent"),
        name="sandbox-test-probe",
        command=("/bin/sh", "-c", script),
    )
    with played(manifest):
        yield finished("sandbox-test-probe-agent")


def test_the_workload_is_who_it_should_be_and_holds_nothing(probe):
    status, logs = probe
    lines = logs.stdout.splitlines()

    assert status == 7, logs.output
    assert lines[:3] == ["4242", "4343", "4343 7 8"]
    assert "Groups:\t7 8 " in lines
    assert [line for line in lines if line.startswith("Cap")] == [
        f"Cap{which}:\t{'0' * 16}" for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    ]
    assert "NoNewPrivs:\t1" in lines
    assert "[a 'b' \"c\" é]" in lines


def test_it_writes_to_its_volumes_and_to_nothing_else(probe):
    _, logs = probe
    lines = logs.stdout.splitlines()

    for place in ("/sandbox", "/tmp", "/dev/shm", "/home/agent"):
        assert f"wrote {place}" in lines, logs.output
    for place in ("/etc", "/opt/sandbox-supervisor", "/run/sandbox-policy", "/"):
        assert f"kept {place}" in lines, logs.output
    assert "no policy" in lines


def test_a_second_pod_of_the_same_claim_finds_the_files_of_the_first(images, tmp_path):
    """Closed directories of the workload's own do not stop the next start."""
    save = "mkdir -m 700 /sandbox/.ssh && echo kept > /sandbox/.ssh/key"
    first = written(
        tmp_path / "sandbox-test-first.yaml",
        *("--workspace-size", "1Gi"),
        name="sandbox-test-first",
        command=("/bin/sh", "-c", save),
    )
    second = written(
        tmp_path / "sandbox-test-second.yaml",
        *("--workspace-claim", "sandbox-test-first-workspace"),
        name="sandbox-test-second",
        command=("/bin/cat", "/sandbox/.ssh/key"),
    )
    with played(first):
        assert finished("sandbox-test-first-agent")[0] == 0
        with played(second):
            status, logs = finished("sandbox-test-second-agent")

    assert (status, logs.stdout) == (0, "kept\n"), logs.output


def test_the_images_work_directory_is_in_the_volume(images, tmp_path):
    context = tmp_path / "image"
    context.mkdir()
    (context / "notes").write_text("from the image\n")
    (context / "Containerfile").write_text(
        "FROM localhost/sandbox-agent\nCOPY --chown=4242:4242 notes /sandbox/project/notes\n"
    )
    image = "localhost/sandbox-test/with-workdir"
    build(image, context)
    manifest = written(
        tmp_path / "sandbox-test-seed.yaml",
        *("--uid", "4242", "--gid", "4242", "--seed"),
        name="sandbox-test-seed",
        image=image,
        command=("/bin/sh", "-c", "cat project/notes && echo more >> project/notes"),
    )
    try:
        with played(manifest):
            status, logs = finished("sandbox-test-seed-agent")
    finally:
        podman("rmi", "--force", image).checked()

    assert (status, logs.stdout) == (0, "from the image\n"), logs.output
