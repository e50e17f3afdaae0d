"""The runtime runs as PID 1 in any image, as root and without any privilege."""

import json
from pathlib import Path

import pytest
from support.podman import Mount, image_root, run

from images.runtime import manifest

SELFTEST = Path(__file__).with_name("selftest.py")
RUNTIME = "/opt/runtime"
AS_ROOT = {"user": "0:0", "options": ()}
UNPRIVILEGED = {
    "user": "4242:4242",
    "options": ("--cap-drop=ALL", "--read-only", "--security-opt=no-new-privileges"),
}


def selftest(runtime_dir, image, *, user, options, at=RUNTIME):
    mounts = [Mount(source=runtime_dir, target=at), Mount(source=SELFTEST, target="/selftest.py")]
    python = f"{at}/bin/python3"
    done = run(
        image, *options, entrypoint=python, command=["/selftest.py"], user=user, mounts=mounts
    )
    return json.loads(done.checked().stdout)


@pytest.mark.parametrize("who", [AS_ROOT, UNPRIVILEGED], ids=["root", "unprivileged"])
@pytest.mark.parametrize("image", ["scratch", "busybox", "musl", "debian"])
def test_everything_works_and_nothing_of_the_image_is_mapped(runtime_dir, images, image, who):
    report = selftest(runtime_dir, images[image], **who)

    assert report["pid"] == 1
    assert report["uid"] == int(who["user"].split(":")[0])
    assert report["certificates"] > 100
    assert report["programs"] == [None, None, "hello there"]
    assert report["reexecuted"] == f"1 {RUNTIME}/lib/sandbox-supervisor"
    assert report["process"] == ["sandbox-supervi", 1, "utf-8"]
    assert report["path"] == report["imported_outside"] == report["mapped_outside"] == []


def test_the_tree_may_stand_anywhere(runtime_dir, images):
    report = selftest(runtime_dir, images["scratch"], **AS_ROOT, at="/some where/else ü")

    assert report["dir"] == "/some where/else ü"
    assert report["mapped_outside"] == []


def test_the_command_line_works_as_entrypoint(runtime_dir, images):
    done = run(
        images["scratch"],
        entrypoint=f"{RUNTIME}/sandbox-supervisor",
        command=["explain", "--json"],
        mounts=[Mount(source=runtime_dir, target=RUNTIME)],
    )

    assert "cli.unknown-code" in [code["name"] for code in json.loads(done.checked().stdout)]


def test_the_supervisor_image_carries_the_same_runtime(runtime_dir, images):
    with image_root(images["supervisor"]) as root:
        assert manifest.digest(root / "opt/sandbox-supervisor") == manifest.digest(runtime_dir)

    done = run(images["supervisor"], command=["explain", "--json"])

    assert json.loads(done.checked().stdout)
