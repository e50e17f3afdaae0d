"""``install``: a copy that is whole or not there, that replaces nothing of strangers."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.forked import CLONE_NEWNS, in_child

from images.runtime import manifest
from supervisor.errors import Refusal
from supervisor.install.runtime import KEPT_VERSIONS, checked_destination, install

STRANGER = 4242


@pytest.fixture
def tmp_path():
    """Unlike pytest's own, one that an unprivileged process may pass."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def tree(tmp_path):
    """What looks like a runtime: files, directories, modes."""
    root = tmp_path / "tree"
    (root / "lib/deep").mkdir(parents=True)
    (root / "sandbox-supervisor").write_text("launcher 1")
    (root / "lib/deep/module.py").write_text("x = 1\n")
    (root / "lib.txt").write_text("sorts between lib and lib/deep")
    (root / "empty").write_text("")
    manifest.normalise(root)
    return root


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "volume/runtime"


@pytest.fixture(autouse=True)
def _volume(tmp_path):
    (tmp_path / "volume").mkdir()


def change(tree, text):
    (tree / "sandbox-supervisor").write_text(text)


def code_of(call, *arguments):
    with pytest.raises(Refusal) as refused:
        call(*arguments)
    return refused.value.code.name


def listing(root):
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.lstat().st_mode), path.is_dir())
        for path in root.rglob("*")
    }


def test_the_copy_is_the_tree_and_the_digest_is_the_builds(tree, destination):
    done = install(str(tree), str(destination))
    copy = destination / "versions" / done.digest

    assert done.copied
    assert done.digest == manifest.digest(tree) == manifest.digest(copy)
    assert listing(copy) == listing(tree)
    assert (destination / "sandbox-supervisor").resolve() == copy / "sandbox-supervisor"
    assert (destination / "sandbox-supervisor").read_text() == "launcher 1"


def test_the_copys_modes_do_not_depend_on_the_umask(tree, destination):
    old = os.umask(0o077)
    try:
        install(str(tree), str(destination))
    finally:
        os.umask(old)

    (copy,) = (destination / "versions").iterdir()
    for path in (destination, destination / "versions", copy):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert listing(copy) == listing(tree)


def test_a_second_run_changes_nothing(tree, destination):
    first = install(str(tree), str(destination))
    before = (destination / "versions" / first.digest).stat().st_ino
    second = install(str(tree), str(destination))

    assert (second.copied, second.digest) == (False, first.digest)
    assert (destination / "versions" / first.digest).stat().st_ino == before


def test_a_tree_that_is_not_what_its_build_recorded_is_not_passed_on(tree, destination):
    manifest.record_digest(tree)
    good = install(str(tree), str(destination)).digest
    change(tree, "launcher of somebody else")

    assert code_of(install, str(tree), str(destination)) == "install.altered"
    assert {path.name for path in (destination / "versions").iterdir()} == {good}


def test_a_copy_whose_recorded_digest_was_changed_is_made_anew(tree, destination):
    manifest.record_digest(tree)
    copy = destination / "versions" / install(str(tree), str(destination)).digest
    (copy / "digest").write_text("0" * 64)

    assert install(str(tree), str(destination)).copied
    assert (copy / "digest").read_text().strip() == copy.name


def test_an_upgrade_leaves_the_version_before_it_and_removes_older_ones(tree, destination):
    digests = []
    for number in range(4):
        change(tree, f"launcher {number}")
        digests.append(install(str(tree), str(destination)).digest)

    assert (destination / "sandbox-supervisor").read_text() == "launcher 3"
    assert KEPT_VERSIONS == 2
    assert {path.name for path in (destination / "versions").iterdir()} == set(digests[-2:])


def test_an_earlier_version_can_come_back(tree, destination):
    first = install(str(tree), str(destination))
    change(tree, "launcher 2")
    install(str(tree), str(destination))
    change(tree, "launcher 1")

    assert install(str(tree), str(destination)).digest == first.digest
    assert (destination / "sandbox-supervisor").read_text() == "launcher 1"


def test_the_version_in_use_is_the_one_that_is_kept_even_if_another_is_younger(tree, destination):
    first = install(str(tree), str(destination)).digest
    change(tree, "launcher 2")
    install(str(tree), str(destination))
    change(tree, "launcher 1")
    install(str(tree), str(destination))  # back again: a supervisor may run from it now
    change(tree, "launcher 3")
    last = install(str(tree), str(destination)).digest

    assert {path.name for path in (destination / "versions").iterdir()} == {first, last}


def test_a_copy_that_reads_back_differently_is_not_put_in_place(tree, destination):
    def with_a_file_that_never_says_the_same():
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        random = "/proc/sys/kernel/random/uuid"
        subprocess.run(["mount", "--bind", random, str(tree / "empty")], check=True)
        return code_of(install, str(tree), str(destination))

    refused = in_child(with_a_file_that_never_says_the_same, unshare=CLONE_NEWNS)

    assert refused == "install.damaged"
    assert not (destination / "sandbox-supervisor").exists()


def test_what_an_interrupted_copy_left_is_no_version_and_is_removed(tree, destination):
    left = destination / "versions/.new-1"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    change(tree, "launcher 2")
    other = install(str(tree), str(destination)).digest
    change(tree, "launcher 3")
    install(str(tree), str(destination))

    assert not left.exists()
    assert (destination / "versions" / other).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: (copy / "lib/deep/module.py").write_text("x = 2\n"),
        lambda copy: (copy / "empty").unlink(),
        lambda copy: (copy / "empty").chmod(0o755),
        lambda copy: (copy / "more").write_text(""),
        lambda copy: (copy / "link").symlink_to("/etc"),
    ],
)
def test_a_damaged_version_is_made_anew(tree, destination, damage):
    done = install(str(tree), str(destination))
    damage(destination / "versions" / done.digest)
    again = install(str(tree), str(destination))

    assert again.copied
    assert manifest.digest(destination / "versions" / done.digest) == done.digest


def test_a_trailing_slash_and_an_existing_mount_point_are_fine(tree, destination):
    destination.mkdir(mode=0o777)

    assert install(str(tree), f"{destination}/").copied


@pytest.mark.parametrize(
    "text",
    ["", "/", "relative", "./a", "/a/../b", "/a//b", "/a/./b", "/a:b", "/a;b", "/$ORIGIN", "/a\0b"],
)
def test_a_path_that_the_launcher_would_refuse_is_refused_now(text):
    assert code_of(checked_destination, text) == "install.bad-destination"


def test_a_missing_parent_is_refused_because_it_is_probably_a_mistake(tree, tmp_path):
    assert code_of(install, str(tree), str(tmp_path / "no/where")) == "install.bad-destination"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_a_tree_with_anything_but_files_is_no_runtime(tree, destination, make):
    make(tree / "strange")

    assert code_of(install, str(tree), str(destination)) == "install.not-a-runtime"
    assert not destination.exists() or list(destination.iterdir()) == []


def test_a_tree_without_a_launcher_is_no_runtime(tree, destination):
    (tree / "sandbox-supervisor").unlink()

    assert code_of(install, str(tree), str(destination)) == "install.not-a-runtime"


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink("/bin/sh", path)])
def test_what_somebody_else_put_there_is_not_replaced(tree, destination, make):
    destination.mkdir()
    make(destination / "sandbox-supervisor")

    assert code_of(install, str(tree), str(destination)) == "install.occupied"


def test_a_link_that_a_stranger_can_make_is_not_followed(tree, tmp_path):
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    real = tmp_path / "real"
    real.mkdir()
    (strangers / "link").symlink_to(real)
    os.chown(strangers, STRANGER, STRANGER)
    os.lchown(strangers / "link", STRANGER, STRANGER)

    for path in (strangers / "link", strangers / "link/below"):
        assert code_of(install, str(tree), str(path)) == "install.untrusted-destination"
    assert list(real.iterdir()) == []


def test_a_link_in_a_directory_that_all_may_write_is_not_followed(tree, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open/link").symlink_to(tmp_path / "volume")
    target = str(tmp_path / "open/link/runtime")

    assert code_of(install, str(tree), target) == "install.untrusted-destination"


@pytest.mark.parametrize("kind", ["link", "strangers", "file"])
def test_a_versions_directory_that_others_prepared_is_not_used(tree, destination, tmp_path, kind):
    destination.mkdir()
    match kind:
        case "link":
            (destination / "versions").symlink_to(tmp_path)
        case "strangers":
            (destination / "versions").mkdir()
            os.chown(destination / "versions", STRANGER, STRANGER)
        case "file":
            (destination / "versions").write_text("")

    code = code_of(install, str(tree), str(destination))
    assert code == {"strangers": "install.untrusted-destination"}.get(kind, "install.occupied")


def test_without_privilege_it_works_in_a_directory_that_all_may_write(tree, destination):
    destination.mkdir()
    destination.chmod(0o777)

    def unprivileged():
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        return install(str(tree), str(destination)).digest

    assert in_child(unprivileged) == manifest.digest(tree)
    assert (destination / "versions").stat().st_uid == STRANGER


def test_on_a_full_volume_the_old_version_stays_whole_and_linked(tree, destination):
    def on_small_volume():
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        destination.mkdir()
        options = "size=64k,mode=0755"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(destination)], check=True
        )
        first = install(str(tree), str(destination)).digest
        (tree / "large").write_bytes(bytes(1 << 20))
        refused = code_of(install, str(tree), str(destination))
        whole = manifest.digest(destination / "versions" / first) == first
        return [refused, whole, (destination / "sandbox-supervisor").read_text()]

    assert in_child(on_small_volume, unshare=CLONE_NEWNS) == ["install.failed", True, "launcher 1"]
