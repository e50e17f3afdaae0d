"""``seed``: the image's work directory arrives whole, once, and replaces nothing."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
from support.forked import in_child

from supervisor.errors import Refusal
from supervisor.install.seed import MARK, PART, seed

WORKLOAD = 4242


@pytest.fixture
def place():
    """A source as an image has it, and an empty volume that is the workload's."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "source/deep/er").mkdir(parents=True)
        (root / "source/deep/er/file").write_text("content")
        (root / "source/program").write_text("#!/bin/sh\n")
        (root / "source/program").chmod(0o4755)
        (root / "source/link").symlink_to("/etc/passwd")
        (root / "source/dangling").symlink_to("nowhere")
        (root / "source/odd\nname").write_text("")
        (root / "source/sealed").mkdir(mode=0o500)
        (root / "volume").mkdir()
        for path in (root / "source", *(root / "source").rglob("*")):
            os.lchown(path, WORKLOAD, WORKLOAD)
        os.chown(root / "volume", WORKLOAD, WORKLOAD)
        yield root


def as_workload(place):
    def run():
        os.setgroups([])
        os.setresgid(WORKLOAD, WORKLOAD, WORKLOAD)
        os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
        try:
            done = seed(str(place / "source"), str(place / "volume"))
        except Refusal as refusal:
            return refusal.code.name
        return done and (done.copied, done.kept, done.left_out)

    return in_child(run)


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_arrives_as_the_workloads_with_its_mode_and_without_special_bits(place):
    assert as_workload(place) == (8, 0, [])
    volume = place / "volume"

    assert (volume / "deep/er/file").read_text() == "content"
    assert os.readlink(volume / "link") == "/etc/passwd"
    assert os.readlink(volume / "dangling") == "nowhere"
    assert (mode_of(volume / "program"), mode_of(volume / "sealed")) == (0o755, 0o500)
    assert {path.lstat().st_uid for path in volume.rglob("*")} == {WORKLOAD}
    assert not list(volume.rglob(PART))


def test_a_second_run_leaves_the_volume_to_the_workload(place):
    as_workload(place)
    (place / "volume/program").unlink()
    (place / "volume/deep/er/file").write_text("changed")

    assert as_workload(place) is None
    assert not (place / "volume/program").exists()
    assert (place / "volume/deep/er/file").read_text() == "changed"


def test_an_interrupted_copy_is_completed_and_nothing_is_replaced(place):
    as_workload(place)
    volume = place / "volume"
    (volume / MARK).unlink()
    (volume / "program").unlink()
    (volume / "deep" / PART).write_text("half")
    (volume / "deep/er/file").write_text("mine")

    assert as_workload(place) == (1, 7, [])
    assert (volume / "deep/er/file").read_text() == "mine"
    assert not list(volume.rglob(PART))
    assert (volume / MARK).exists()


def test_a_link_in_the_volume_leads_nowhere_else(place):
    (place / "outside").mkdir()
    os.chown(place / "outside", WORKLOAD, WORKLOAD)
    (place / "volume/deep").symlink_to(place / "outside")

    assert as_workload(place) == "install.seed"
    assert list((place / "outside").iterdir()) == []


def test_what_the_workload_may_not_read_stops_the_start_and_leaves_no_mark(place):
    (place / "source/secret").write_text("root's")
    (place / "source/secret").chmod(0o600)

    assert as_workload(place) == "install.seed"
    assert not (place / "volume" / MARK).exists()


def test_special_files_are_left_out_and_named(place):
    os.mkfifo(place / "source/deep/pipe")

    assert as_workload(place) == (8, 0, ["/deep/pipe"])


def test_an_image_without_a_work_directory_has_nothing_to_copy(place):
    done = seed(str(place / "nothing"), str(place / "volume"))

    assert done is not None
    assert done.entries == 0
    assert (place / "volume" / MARK).exists()
