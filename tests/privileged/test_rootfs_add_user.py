"""``rootfs add-user`` on real trees (deployment.md section 5, its list of tests)."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.cli.main import main
from supervisor.identity.rootfs import read_rootfs

FILES = ["passwd", "group", "shadow", "gshadow"]
LINES = {
    "passwd": b"sandbox:x:10001:10002::/sandbox:/bin/sh\n",
    "group": b"sandbox:x:10002:\n",
    "shadow": b"sandbox:!:::::::\n",
    "gshadow": b"sandbox:!::\n",
}
PRESENT = {
    "passwd": b"root:x:0:0:root:/root:/bin/bash\nnode:x:1000:1000::/home/node:/bin/sh\n",
    "group": b"root:x:0:\nnode:x:1000:\n",
    "shadow": b"root:*:19000:0:99999:7:::\nnode:!:19000::::::\n",
    "gshadow": b"root:*::\nnode:!::\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name, content in PRESENT.items():
        (root / "etc" / name).write_bytes(content)
    return root


def add(root: Path, *extra: str, uid: str = "10001", gid: str = "10002") -> int:
    return main(["rootfs", "add-user", str(root), "--uid", uid, "--gid", gid, *extra])


def content(root: Path) -> dict[str, bytes]:
    return {name: (root / "etc" / name).read_bytes() for name in FILES}


def error_code(output: str) -> str:
    error = json.loads(output)["error"]
    assert set(error) == {"code", "cause", "remedy"}
    return str(error["code"])


def test_an_absent_account_is_appended_to_the_four_files(root: Path) -> None:
    assert add(root) == 0
    assert content(root) == {name: PRESENT[name] + LINES[name] for name in FILES}
    assert sorted(os.listdir(root / "etc")) == sorted(FILES)


def test_what_was_written_reads_back_as_the_account(root: Path) -> None:
    add(root)
    files = read_rootfs(str(root))
    account = files.passwd.usable()[-1]
    assert (account.name, account.uid, account.gid) == ("sandbox", 10001, 10002)
    assert [file.usable()[-1].name for file in (files.group, files.shadow, files.gshadow)] == [
        "sandbox"
    ] * 3


def test_a_second_run_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(root, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "sandbox",
        "uid": 10001,
        "gid": 10002,
        "written": ["group", "gshadow", "passwd", "shadow"],
        "unchanged": [],
    }
    before = {name: os.stat(root / "etc" / name) for name in FILES}
    assert add(root, "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == []
    assert {name: os.stat(root / "etc" / name) for name in FILES} == before


def test_the_name_can_be_chosen(root: Path) -> None:
    assert add(root, "--name", "agent") == 0
    assert b"\nagent:x:10001:10002::/sandbox:/bin/sh\n" in (root / "etc/passwd").read_bytes()


def test_a_present_account_stays_and_only_the_rest_is_added(root: Path) -> None:
    own = b"sandbox:x:10001:10002:My own:/home/me:/bin/zsh\n"
    (root / "etc/passwd").write_bytes(PRESENT["passwd"] + own)
    assert add(root) == 0
    assert (root / "etc/passwd").read_bytes() == PRESENT["passwd"] + own
    assert (root / "etc/group").read_bytes() == PRESENT["group"] + LINES["group"]


def test_a_file_without_trailing_newline_gets_one_first(root: Path) -> None:
    for name in FILES:
        (root / "etc" / name).write_bytes(PRESENT[name].rstrip(b"\n"))
    assert add(root) == 0
    assert content(root) == {name: PRESENT[name] + LINES[name] for name in FILES}


def test_empty_files_get_one_line(root: Path) -> None:
    for name in FILES:
        (root / "etc" / name).write_bytes(b"")
    assert add(root) == 0
    assert content(root) == LINES


def test_lines_with_carriage_returns_are_left_alone(root: Path) -> None:
    windows = {name: PRESENT[name].replace(b"\n", b"\r\n") for name in FILES}
    for name in FILES:
        (root / "etc" / name).write_bytes(windows[name])
    assert add(root) == 0
    assert content(root) == {name: windows[name] + LINES[name] for name in FILES}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_a_missing_etc_and_missing_files_are_made_with_their_modes(
    tmp_path: Path, umask: int
) -> None:
    previous = os.umask(umask)
    try:
        assert add(tmp_path) == 0
    finally:
        os.umask(previous)
    assert content(tmp_path) == LINES
    modes = {name: os.stat(tmp_path / "etc" / name).st_mode & 0o7777 for name in FILES}
    assert modes == {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640}
    assert os.stat(tmp_path / "etc").st_mode & 0o7777 == 0o755


def test_owner_and_mode_of_present_files_stay(root: Path) -> None:
    os.chown(root / "etc/shadow", 0, 42)
    os.chmod(root / "etc/shadow", 0o600)
    os.chown(root / "etc/passwd", 1234, 1234)
    assert add(root) == 0
    shadow, passwd = os.stat(root / "etc/shadow"), os.stat(root / "etc/passwd")
    assert (shadow.st_uid, shadow.st_gid, shadow.st_mode & 0o7777) == (0, 42, 0o600)
    assert (passwd.st_uid, passwd.st_gid) == (1234, 1234)


def test_the_workspace_of_the_image_is_not_touched(root: Path) -> None:
    (root / "sandbox").mkdir()
    (root / "sandbox/file").write_text("content")
    before = os.stat(root / "sandbox"), os.stat(root / "sandbox/file")
    add(root)
    assert (os.stat(root / "sandbox"), os.stat(root / "sandbox/file")) == before
    assert sorted(os.listdir(root)) == ["etc", "sandbox"]


@pytest.mark.parametrize(
    ("ids", "extra"),
    [
        ({"uid": "1000"}, ()),
        ({"gid": "1000"}, ()),
        ({}, ("--name", "node")),
        ({"uid": "1000", "gid": "1001"}, ("--name", "node")),
        ({"uid": "1001", "gid": "1000"}, ("--name", "node")),
    ],
)
def test_a_collision_is_reported_before_anything_is_written(
    root: Path, ids: dict[str, str], extra: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(root, "--json", *extra, **ids) == 1
    assert error_code(capsys.readouterr().out) == "identity.collision"
    assert content(root) == PRESENT


def test_a_group_of_the_same_name_with_another_number_is_a_collision(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/group").write_bytes(b"sandbox:x:997:\n")
    assert add(root, "--json") == 1
    output = capsys.readouterr().out
    assert error_code(output) == "identity.collision"
    assert "997" in output
    assert (root / "etc/passwd").read_bytes() == PRESENT["passwd"]


@pytest.mark.parametrize(
    ("uid", "gid", "name", "code"),
    [
        ("0", "5", "sandbox", "identity.root"),
        ("5", "0", "sandbox", "identity.root"),
        ("01000", "5", "sandbox", "identity.bad-id"),
        ("5", "4294967295", "sandbox", "identity.out-of-range"),
        ("app", "5", "sandbox", "identity.bad-id"),
        ("64998", "5", "sandbox", "identity.reserved-id"),
        ("5", "64999", "sandbox", "identity.reserved-id"),
        ("5", "6", "a:b", "identity.bad-id"),
        ("5", "6", "a\nroot2:x:0:0::/:/bin/sh", "identity.bad-id"),
        ("5", "6", "10001", "identity.bad-id"),
        ("5", "6", "", "identity.bad-id"),
        ("5", "6", "root", "identity.collision"),
    ],
)
def test_what_cannot_be_an_account_is_refused(
    root: Path, uid: str, gid: str, name: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(root, "--json", "--name", name, uid=uid, gid=gid) == 1
    assert error_code(capsys.readouterr().out) == code
    assert content(root) == PRESENT


def link_passwd_relative(root: Path, outside: Path) -> None:
    os.unlink(root / "etc/passwd")
    (root / "etc/passwd").symlink_to("../../outside/passwd")


def link_passwd_absolute(root: Path, outside: Path) -> None:
    os.unlink(root / "etc/passwd")
    (root / "etc/passwd").symlink_to(outside / "passwd")


def link_passwd_dangling(root: Path, outside: Path) -> None:
    os.unlink(root / "etc/passwd")
    (root / "etc/passwd").symlink_to(outside / "not-yet")


def link_shadow(root: Path, outside: Path) -> None:
    os.unlink(root / "etc/shadow")
    (root / "etc/shadow").symlink_to(outside / "shadow")


def link_etc(root: Path, outside: Path) -> None:
    os.rename(root / "etc", root / "was-etc")
    (root / "etc").symlink_to(outside)


def link_etc_dangling(root: Path, outside: Path) -> None:
    os.rename(root / "etc", root / "was-etc")
    (root / "etc").symlink_to(outside / "not-yet")


@pytest.mark.parametrize(
    "link",
    [
        link_passwd_relative,
        link_passwd_absolute,
        link_passwd_dangling,
        link_shadow,
        link_etc,
        link_etc_dangling,
    ],
)
def test_no_link_leads_out_of_the_tree(
    root: Path,
    tmp_path: Path,
    link: Callable[[Path, Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in FILES:
        (outside / name).write_bytes(PRESENT[name])
    link(root, outside)

    assert add(root, "--json") == 1

    assert error_code(capsys.readouterr().out) == "identity.file-link"
    assert sorted(os.listdir(outside)) == sorted(FILES)
    assert {name: (outside / name).read_bytes() for name in FILES} == PRESENT


def test_a_temporary_name_that_is_a_link_is_not_written_through(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    for name in FILES:
        (root / f"etc/.{name}.sandbox-supervisor").symlink_to(target)
    assert add(root) == 0
    assert target.read_bytes() == b"mine"


def test_a_malformed_file_is_refused_with_its_line(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/shadow").write_bytes(b"root:*\n")
    assert add(root, "--json") == 1
    output = capsys.readouterr().out
    assert error_code(output) == "identity.file-malformed"
    assert "/etc/shadow, line 1" in output
    assert (root / "etc/passwd").read_bytes() == PRESENT["passwd"]


def test_a_root_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(tmp_path / "missing", "--json") == 1
    assert error_code(capsys.readouterr().out) == "identity.not-a-root"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "argv", [[], ["add-user"], ["add-user", "/x"], ["add-user", "/x", "--uid", "5"]]
)
def test_a_missing_argument_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["rootfs", *argv])
    assert stopped.value.code == 2
