"""The whole entrypoint in the hostile image, in a real container (attacks A7, L15)."""

import json
import os
from pathlib import Path

import pytest
from support.podman import Mount, run, running
from support.rooted import RUNTIME
from support.waiting import until

LAUNCHER = f"{RUNTIME}/sandbox-supervisor"
AS_ROOT = {"user": "0:0"}
UNPRIVILEGED = {"user": "4242:4242", "caps": ()}
IDENTITY = ("--uid=4242", "--gid=4242")


def supervised(images, runtime_dir, *arguments, workspace=None, env=None, **who):
    mounts = [Mount(source=runtime_dir, target=RUNTIME)]
    if workspace is not None:
        mounts.append(Mount(source=workspace, target="/sandbox", writable=True))
    return run(
        images["hostile"],
        entrypoint=LAUNCHER,
        command=["run", "--mode=full", *arguments, "--", "/usr/bin/hello", "there"],
        mounts=mounts,
        env=env,
        **who,
    )


@pytest.mark.parametrize("who", [AS_ROOT, UNPRIVILEGED], ids=["root", "unprivileged"])
def test_the_workload_runs_and_nothing_hostile_does(runtime_dir, images, tmp_path, who):
    os.chown(tmp_path, 4242, 4242)  # who has no capability cannot make the workspace its own

    done = supervised(images, runtime_dir, *IDENTITY, workspace=tmp_path, **who)

    assert (done.returncode, done.stdout) == (0, "hello there\n"), done.stderr
    assert "EVIL" not in done.stderr


def test_the_running_monitor_maps_and_inherits_nothing_of_the_image(runtime_dir, images):
    with running(
        images["hostile"],
        entrypoint=LAUNCHER,
        command=["run", "--mode=full", *IDENTITY, "--", "/usr/bin/busybox", "sleep", "300"],
        mounts=[Mount(source=runtime_dir, target=RUNTIME)],
    ) as container:
        monitor = Path(f"/proc/{container.host_pid()}")
        wait_for_workload(container)
        fields = [line.split(maxsplit=5) for line in (monitor / "maps").read_text().splitlines()]
        environment = (monitor / "environ").read_bytes().split(b"\0")[:-1]
        name = (monitor / "comm").read_text()

    mapped = {field[5] for field in fields if len(field) > 5 and "/" in field[5]}
    assert mapped
    assert [path for path in mapped if not path.startswith(f"{RUNTIME}/")] == []
    # Every variable is ours and names our tree or a constant, or it is the image's, renamed.
    ours = [pair for pair in environment if not pair.startswith(b"@")]
    assert all(RUNTIME.encode() in pair or pair.endswith((b"=1", b"=C", b"=UTC0")) for pair in ours)
    assert b"@LD_PRELOAD=/evil.so" in environment
    assert name == "sandbox-supervi\n"


def wait_for_workload(container):
    until(lambda: "sandbox.started" in container.logs().output, container.logs)


@pytest.mark.parametrize("prefix", ["SANDBOX", "OPENSHELL_SANDBOX"])
def test_a_baked_identity_that_differs_from_the_command_line_is_refused(
    runtime_dir, images, prefix
):
    baked = {f"{prefix}_UID": "1000", f"{prefix}_GID": "1000"}

    done = supervised(images, runtime_dir, *IDENTITY, env=baked)

    assert done.returncode == 125
    assert json.loads(done.stderr.splitlines()[-1])["status_code"] == "identity.conflict"
    assert "hello" not in done.stdout


def test_a_baked_renamed_variable_does_not_pose_as_the_identity(runtime_dir, images):
    """The image declares "@SANDBOX_UID"; taken for SANDBOX_UID it would be half an identity."""
    done = supervised(images, runtime_dir)

    assert done.returncode == 125
    refusal = json.loads(done.stderr.splitlines()[-1])
    assert refusal["status_code"].startswith("identity.")
    assert "SANDBOX_UID is" not in refusal["status_detail"]
