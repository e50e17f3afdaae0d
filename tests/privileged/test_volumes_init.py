"""``volumes-init``: what podman makes root's and 0755 becomes usable, what is usable stays."""

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest

from supervisor.cli.main import main
from supervisor.errors import Refusal
from supervisor.install.volumes import open_scratch

UID, GID = 4242, 4343


@pytest.fixture
def tmp_path():
    """Unlike pytest's own, one that an unprivileged process may pass."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o755, 0o700, 0o770])
def test_a_scratch_directory_is_opened_to_all_with_the_sticky_bit(tmp_path, before):
    tmp_path.chmod(before)
    open_scratch(str(tmp_path))

    assert mode_of(tmp_path) == 0o1777


@pytest.mark.parametrize("before", [0o777, 0o2777, 0o1777])
def test_one_that_is_open_already_stays_as_the_kubelet_made_it(tmp_path, before):
    tmp_path.chmod(before)
    open_scratch(str(tmp_path))

    assert mode_of(tmp_path) == before


def test_a_link_or_a_file_is_not_opened(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "there").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for name in ("link", "file", "missing"):
        with pytest.raises(Refusal) as refused:
            open_scratch(str(tmp_path / name))
        assert refused.value.code.name == "install.scratch-directory"

    assert mode_of(tmp_path / "there") == 0o755


def test_the_work_directory_is_given_to_the_workload(tmp_path, capsys):
    workdir, scratch = tmp_path / "work", tmp_path / "scratch"
    workdir.mkdir()
    scratch.mkdir()
    words = ["--uid", str(UID), "--gid", str(GID), "--workdir", str(workdir)]

    assert main(["volumes-init", "--json", *words, str(scratch)]) == 0
    assert json.loads(capsys.readouterr().out)["scratch"] == [str(scratch)]
    assert (workdir.stat().st_uid, workdir.stat().st_gid) == (UID, GID)
    assert mode_of(scratch) == 0o1777
    assert os.stat(scratch).st_uid == 0


@pytest.mark.parametrize("uid", ["0", "root", "-1"])
def test_nothing_is_given_to_root(tmp_path, capsys, uid):
    words = ["--uid", uid, "--gid", "1", "--workdir", str(tmp_path / "work")]

    assert main(["volumes-init", *words]) == 1
    assert not (tmp_path / "work").exists()
