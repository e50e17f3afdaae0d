"""The real runtime, installed into a volume and used from there by images of every kind."""

import os
import re
import subprocess

import pytest
from support.podman import Mount, run

from images.runtime import manifest

AT = "/opt/sandbox-supervisor"
LAUNCHER = f"{AT}/sandbox-supervisor"
NOBODY = "4242:4242"
UNPRIVILEGED = ("--read-only", "--security-opt=no-new-privileges")


def installed_by(image, runtime_dir, volume, user):
    """Run ``install`` as the init container of a pod does; the digest that it printed."""
    volume.mkdir()
    volume.chmod(0o777)  # as Kubernetes makes an emptyDir
    done = run(
        image,
        *UNPRIVILEGED,
        entrypoint=LAUNCHER,
        command=["install", "/install"],
        user=user,
        caps=(),
        mounts=[
            Mount(source=runtime_dir, target=AT),
            Mount(source=volume, target="/install", writable=True),
        ],
    ).checked()
    return re.match(r"sha256:([0-9a-f]{64}) /install: \d+ files, installed", done.stdout)[1]


@pytest.fixture(scope="module", params=["0:0", NOBODY], ids=["by-root", "by-4242"])
def volume(request, runtime_dir, images, tmp_path_factory):
    """A volume with the runtime, installed from an image that has nothing else."""
    path = tmp_path_factory.mktemp("install") / "volume"
    digest = installed_by(images["scratch"], runtime_dir, path, request.param)
    assert digest == manifest.digest(runtime_dir)
    return path


@pytest.mark.parametrize("user", ["0:0", NOBODY])
@pytest.mark.parametrize("image", ["scratch", "busybox", "musl", "debian", "hostile"])
def test_an_image_of_any_kind_runs_it_read_only_without_any_capability(volume, images, image, user):
    done = run(
        images[image],
        *UNPRIVILEGED,
        entrypoint=LAUNCHER,
        command=["explain", "--json"],
        user=user,
        caps=(),
        mounts=[Mount(source=volume, target=AT)],
    ).checked()

    assert "install.bad-destination" in done.stdout
    assert "EVIL" not in done.output


@pytest.mark.parametrize("image", ["scratch", "busybox", "musl", "debian"])
def test_a_workload_runs_confined_by_the_installed_runtime(volume, images, image):
    done = run(
        images[image],
        *("--read-only", "--tmpfs", "/sandbox", "--tmpfs", "/tmp"),
        entrypoint=LAUNCHER,
        command=[
            *("run", "--mode", "full", "--policy", "/run/sandbox-policy/policy.yaml"),
            *("--uid", "4242", "--gid", "4242", "--groups", "", "--", "/hello", "there"),
        ],
        user="0:0",
        caps=("CHOWN", "KILL", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN"),
        mounts=[
            Mount(source=volume, target=AT),
            Mount(source=policy_beside(volume), target="/run/sandbox-policy"),
        ],
    ).checked()

    assert "hello there" in done.stdout


def policy_beside(volume):
    """A policy that opens the workload's program, as a directory to mount."""
    directory = volume.with_name("policy")
    directory.mkdir(exist_ok=True)
    text = "version: 1\nfilesystem_policy: {read_only: [/hello], read_write: [/tmp]}\n"
    (directory / "policy.yaml").write_text(text)
    return directory


def test_a_running_program_keeps_finding_its_own_files_through_an_upgrade(runtime_dir, tmp_path):
    destination = tmp_path / "runtime"
    launcher = str(runtime_dir / "sandbox-supervisor")
    subprocess.run([launcher, "install", str(destination)], check=True, capture_output=True)
    (old,) = (destination / "versions").iterdir()
    code = "print('ready', flush=True); input(); import asyncio, ssl; print(asyncio.__file__)"
    with subprocess.Popen(
        [str(old / "bin/python3"), "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout.readline() == "ready\n"
        newer = tmp_path / "newer"
        subprocess.run(["cp", "-a", str(runtime_dir), str(newer)], check=True)
        (newer / "app/added.txt").write_text("a newer version\n")
        os.chmod(newer / "app/added.txt", 0o644)
        manifest.record_digest(newer)
        newest = str(newer / "sandbox-supervisor")
        subprocess.run([newest, "install", str(destination)], check=True, capture_output=True)
        printed, _ = running.communicate("go on\n", timeout=60)

    assert running.returncode == 0
    assert printed.startswith(f"{old}/lib/python3.11/asyncio")
    assert (destination / "sandbox-supervisor").resolve().parent != old
    again = [str(destination / "sandbox-supervisor"), "explain", "install.failed"]
    assert subprocess.run(again, capture_output=True).returncode == 0
