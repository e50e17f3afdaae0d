"""Adding entries to real account files (issue 2, Identity; process.md T25, made strict)."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.forked import CLONE_NEWNS, in_child
from support.identities import inputs

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.account_files import read_accounts
from supervisor.identity.accounts import account_with_uid
from supervisor.identity.decide import decide
from supervisor.identity.entries import EntryPlan, plan_entries
from supervisor.identity.write import EntryReport, apply_entries
from supervisor.kernel.libc import check, libc

PASSWD = (
    b"root:x:0:0:root:/root:/bin/bash\r\n\n# a comment\nsandbox:x:998:997::/sandbox:/bin/bash\n"
)
GROUP = b"root:x:0:\nsandbox:x:997:"
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_bytes(PASSWD)
    (root / "etc/group").write_bytes(GROUP)
    os.chmod(root / "etc/passwd", 0o644)
    os.chmod(root / "etc/group", 0o644)
    return root


def plan_for(root: Path, *, uid: str = "4242", gid: str = "4243", groups: str = "") -> EntryPlan:
    accounts = read_accounts(str(root))
    return plan_entries(accounts, decide(inputs(argv=(uid, gid, groups)), accounts))


def added(root: Path, **ids: str) -> EntryReport:
    return apply_entries(str(root), plan_for(root, **ids))


def mount_over(source: str, target: str, flags: int) -> None:
    check(libc.mount(source.encode(), target.encode(), None, flags, None), "mount")


def test_missing_entries_are_appended_and_every_other_byte_stays(root: Path) -> None:
    report = added(root, groups="5000")
    assert report == EntryReport(written=("group", "passwd"), notes=())
    assert (root / "etc/passwd").read_bytes() == (PASSWD + b"4242:*:4242:4243::/sandbox:/bin/sh\n")
    assert (root / "etc/group").read_bytes() == GROUP + b"\n4243:*:4243:\n5000:*:5000:\n"
    account = account_with_uid(read_accounts(str(root)), 4242)
    assert account is not None
    assert account.home == "/sandbox"


def test_a_second_start_changes_nothing(root: Path) -> None:
    added(root)
    before = os.stat(root / "etc/passwd")
    assert added(root) == EntryReport(written=(), notes=())
    assert os.stat(root / "etc/passwd") == before


def test_nothing_is_left_beside_the_files(root: Path) -> None:
    (root / "etc/.passwd.sandbox-supervisor").write_text("left by a killed predecessor")
    added(root)
    assert sorted(os.listdir(root / "etc")) == ["group", "passwd"]


def test_missing_files_and_a_missing_etc_are_made(root: Path) -> None:
    os.unlink(root / "etc/passwd")
    os.unlink(root / "etc/group")
    os.rmdir(root / "etc")
    assert added(root).written == ("group", "passwd")
    for name, mode in [("etc/passwd", 0o644), ("etc/group", 0o644), ("etc", 0o755)]:
        assert os.stat(root / name).st_mode & 0o7777 == mode
    assert (root / "etc/passwd").read_bytes() == b"4242:*:4242:4243::/sandbox:/bin/sh\n"


def test_owner_mode_and_attributes_are_kept(root: Path) -> None:
    passwd = root / "etc/passwd"
    os.chown(passwd, 0, 42)
    os.chmod(passwd, 0o640)
    os.setxattr(passwd, "trusted.note", b"kept")
    os.setxattr(passwd, "user.note", b"kept, too")
    added(root)
    status = os.stat(passwd)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 42, 0o640)
    assert os.getxattr(passwd, "trusted.note") == b"kept"
    assert os.getxattr(passwd, "user.note") == b"kept, too"


def test_the_other_name_of_a_hard_link_keeps_the_old_content(root: Path, tmp_path: Path) -> None:
    os.link(root / "etc/passwd", tmp_path / "other-name")
    added(root)
    assert (tmp_path / "other-name").read_bytes() == PASSWD
    assert (root / "etc/passwd").read_bytes() != PASSWD


@pytest.mark.parametrize("where", ["passwd", "etc"])
def test_no_link_is_followed_and_the_reason_is_noted(
    root: Path, tmp_path: Path, where: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwd").write_bytes(b"")
    (outside / "group").write_bytes(b"")
    if where == "etc":
        os.rename(root / "etc", root / "was-etc")
        (root / "etc").symlink_to(outside)
    else:
        os.unlink(root / "etc/passwd")
        (root / "etc/passwd").symlink_to(outside / "passwd")
    report = added(root)
    assert (outside / "passwd").read_bytes() == b""
    assert (outside / "group").read_bytes() == b""
    assert "passwd" not in report.written
    assert any("symbolic link" in note for note in report.notes)


def test_a_link_that_appears_after_planning_is_replaced_not_followed(
    root: Path, tmp_path: Path
) -> None:
    plan = plan_for(root)
    target = tmp_path / "target"
    target.write_bytes(PASSWD)
    os.unlink(root / "etc/passwd")
    (root / "etc/passwd").symlink_to(target)
    with pytest.raises(Refusal) as caught:
        apply_entries(str(root), plan)
    assert caught.value.code is codes.FILE_LINK
    assert target.read_bytes() == PASSWD


def test_a_file_that_changed_after_planning_is_not_overwritten(root: Path) -> None:
    plan = plan_for(root)
    (root / "etc/passwd").write_bytes(PASSWD + b"new:x:7:7::/:/bin/sh\n")
    with pytest.raises(Refusal) as caught:
        apply_entries(str(root), plan)
    assert caught.value.code is codes.FILE_CHANGED
    assert (root / "etc/passwd").read_bytes().endswith(b"new:x:7:7::/:/bin/sh\n")


def test_a_file_that_appeared_after_planning_is_not_overwritten(root: Path) -> None:
    os.unlink(root / "etc/group")
    plan = plan_for(root)
    (root / "etc/group").write_bytes(b"somebody:x:5:\n")
    with pytest.raises(Refusal) as caught:
        apply_entries(str(root), plan)
    assert caught.value.code is codes.FILE_CHANGED
    assert (root / "etc/group").read_bytes() == b"somebody:x:5:\n"
    assert sorted(os.listdir(root / "etc")) == ["group", "passwd"]


def test_a_malformed_file_is_left_alone_and_the_other_one_written(root: Path) -> None:
    (root / "etc/passwd").write_bytes(b"sandbox:x:998\n")  # T25: no crash, unchanged
    report = added(root)
    assert report.written == ("group",)
    assert any("/etc/passwd, line 1: 3 fields" in note for note in report.notes)
    assert (root / "etc/passwd").read_bytes() == b"sandbox:x:998\n"


def test_taken_numbers_and_taken_names_are_left_alone(root: Path) -> None:
    content = PASSWD + b"4242:x:0:0::/root:/bin/sh\n"
    (root / "etc/passwd").write_bytes(content)
    report = added(root, gid="997")
    assert report.written == ()
    assert any("another id has that name" in note for note in report.notes)
    assert (root / "etc/passwd").read_bytes() == content
    assert added(root, uid="998", gid="997") == EntryReport(written=(), notes=())


def test_a_read_only_etc_is_left_alone_and_noted(root: Path) -> None:
    def inside() -> EntryReport:
        etc = str(root / "etc")
        mount_over(etc, etc, MS_BIND)
        mount_over(etc, etc, MS_BIND | MS_REMOUNT | MS_RDONLY)
        return added(root)

    report = in_child(inside, unshare=CLONE_NEWNS)
    assert report.written == ()
    assert len(report.notes) == 2
    assert all("Read-only file system" in note for note in report.notes)
    assert (root / "etc/passwd").read_bytes() == PASSWD


def test_a_file_that_is_a_mount_of_its_own_is_left_alone_and_noted(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "mounted").write_bytes(PASSWD)

    def inside() -> EntryReport:
        mount_over(str(tmp_path / "mounted"), str(root / "etc/passwd"), MS_BIND)
        return added(root)

    report = in_child(inside, unshare=CLONE_NEWNS)
    assert report.written == ("group",)
    assert report.notes == ("/etc/passwd is left alone: Device or resource busy",)
    assert (tmp_path / "mounted").read_bytes() == PASSWD
    assert sorted(os.listdir(root / "etc")) == ["group", "passwd"]


def test_without_the_right_to_write_nothing_changes(root: Path) -> None:
    plan = plan_for(root)
    os.chmod(root, 0o755)

    def as_somebody_else() -> EntryReport:
        os.chdir(root)  # the directories above are pytest's, and closed to others
        os.setresgid(4243, 4243, 4243)
        os.setresuid(4242, 4242, 4242)
        return apply_entries(".", plan)

    report = in_child(as_somebody_else)
    assert report.written == ()
    assert len(report.notes) == 2
    assert all("Permission denied" in note for note in report.notes)
    assert (root / "etc/passwd").read_bytes() == PASSWD


def test_a_full_disk_is_a_refusal_and_the_old_file_stays(root: Path, tmp_path: Path) -> None:
    big = PASSWD + b"#" * 5000 + b"\n"

    def inside() -> tuple[str, bytes, list[str]]:
        check(libc.mount(b"none", bytes(root / "etc"), b"tmpfs", 0, b"size=16k,mode=755"), "mount")
        (root / "etc/group").write_bytes(b"4243:*:4243:\n")
        (root / "etc/passwd").write_bytes(big)
        (root / "etc/filler").write_bytes(b"x" * 4096)
        try:
            added(root)
        except Refusal as refusal:
            return refusal.code.name, (root / "etc/passwd").read_bytes(), os.listdir(root / "etc")
        raise AssertionError("written to a full disk")

    name, content, names = in_child(inside, unshare=CLONE_NEWNS)
    assert name == "identity.write-failed"
    assert content == big
    assert sorted(names) == ["filler", "group", "passwd"]


def test_a_reader_sees_the_old_or_the_new_file_never_a_torn_one(root: Path) -> None:
    passwd = root / "etc/passwd"
    old = PASSWD + b"# filler\n" * 2000
    passwd.write_bytes(old)
    new = old + b"4242:*:4242:4243::/sandbox:/bin/sh\n"
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(passwd.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(100):
            assert added(root).written
            assert passwd.read_bytes() == new
            (root / "etc/next").write_bytes(old)
            os.rename(root / "etc/next", passwd)
    finally:
        stop.set()
        reader.join()
    assert seen <= {old, new}
    assert seen


def test_a_named_identity_lacks_no_account(root: Path) -> None:
    accounts = read_accounts(str(root))
    named = decide(inputs(argv=("sandbox", "sandbox", None)), accounts)
    assert plan_entries(accounts, named) == EntryPlan(additions=(), notes=())
    only_group = plan_entries(accounts, replace(named, gid=5))
    assert [addition.name for addition in only_group.additions] == ["group"]
