"""Reading account files of a root file system that wants to be misread (attacks.md A7; T17-T19)."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.identities import PASSWD

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.account_files import read_accounts
from supervisor.identity.accounts import MAX_FILE_BYTES, Accounts

SECRET = b"leaked:x:4711:4711::/:/bin/sh\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_bytes(PASSWD)
    (root / "etc/group").write_bytes(b"app:x:1001:\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/passwd").write_bytes(SECRET)
    (tmp_path / "outside/group").write_bytes(b"leaked:x:4711:\n")
    os.chmod(root / "etc/passwd", 0o644)
    os.chmod(root / "etc/group", 0o644)
    os.chmod(root / "etc", 0o755)
    return root


def passwd_refusal(accounts: Accounts) -> Refusal:
    with pytest.raises(Refusal) as caught:
        accounts.passwd.usable()
    assert caught.value.cause.startswith("/etc")
    return caught.value


def test_plain_files_are_read(root: Path) -> None:
    accounts = read_accounts(str(root))
    assert "app" in {account.name for account in accounts.passwd.usable()}
    assert [group.gid for group in accounts.group.usable()] == [1001]


def test_the_files_of_this_machine_are_read() -> None:
    assert any(account.uid == 0 for account in read_accounts().passwd.usable())


def make_link(passwd: Path) -> None:
    passwd.symlink_to("../../outside/passwd")


def make_absolute_link(passwd: Path) -> None:
    passwd.symlink_to("/etc/passwd")


def make_dangling_link(passwd: Path) -> None:
    passwd.symlink_to("nowhere")


def make_proc_link(passwd: Path) -> None:
    passwd.symlink_to("/proc/self/environ")


def make_socket(passwd: Path) -> None:
    here = os.getcwd()
    os.chdir(passwd.parent)  # sun_path is short
    try:
        socket.socket(socket.AF_UNIX).bind(passwd.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_link, codes.FILE_LINK),  # T19
        (make_absolute_link, codes.FILE_LINK),
        (make_dangling_link, codes.FILE_LINK),
        (make_proc_link, codes.FILE_LINK),
        (os.mkdir, codes.FILE_NOT_REGULAR),
        (os.mkfifo, codes.FILE_NOT_REGULAR),
        (make_socket, codes.FILE_NOT_REGULAR),
        (lambda passwd: os.mknod(passwd, 0o20644, os.makedev(1, 5)), codes.FILE_NOT_REGULAR),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_is_no_regular_file_is_refused_and_nobody_hangs(
    root: Path, make: Callable[[Path], object], code: object
) -> None:
    os.unlink(root / "etc/passwd")
    make(root / "etc/passwd")
    assert passwd_refusal(read_accounts(str(root))).code is code


def test_a_linked_etc_is_not_entered(root: Path, tmp_path: Path) -> None:
    os.rename(root / "etc", root / "real")
    for target in ("real", "../outside", str(tmp_path / "outside")):
        (root / "etc").symlink_to(target)
        assert passwd_refusal(read_accounts(str(root))).code is codes.FILE_LINK
        os.unlink(root / "etc")


def test_a_missing_file_and_a_missing_etc_are_named(root: Path) -> None:
    os.unlink(root / "etc/passwd")
    accounts = read_accounts(str(root))
    assert accounts.passwd.missing
    assert not accounts.group.missing
    os.unlink(root / "etc/group")
    os.rmdir(root / "etc")
    accounts = read_accounts(str(root))
    assert accounts.passwd.missing
    assert accounts.group.missing


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("missing", "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(Refusal) as caught:
            read_accounts(str(tmp_path / name))
        assert caught.value.code is codes.NOT_A_ROOT


@pytest.mark.parametrize("path", ["etc", "etc/passwd"])
@pytest.mark.parametrize(
    ("owner", "group", "mode", "trusted"),
    [
        (0, 0, 0o755, True),
        (0, 0, 0o775, True),  # OpenShift images: group 0 writes, and the workload never holds it
        (0, 42, 0o755, True),
        (4242, 0, 0o755, False),
        (65534, 65534, 0o755, False),
        (0, 42, 0o775, False),
        (0, 0, 0o757, False),
    ],
)
def test_a_file_that_a_workload_could_have_written_is_not_believed(
    root: Path, path: str, owner: int, group: int, mode: int, trusted: bool
) -> None:
    os.chown(root / path, owner, group)
    os.chmod(root / path, mode)
    accounts = read_accounts(str(root))
    if trusted:
        assert accounts.passwd.usable()
    else:
        assert passwd_refusal(accounts).code is codes.FILE_UNTRUSTED


def test_an_endless_file_is_read_up_to_its_bound(root: Path) -> None:
    with open(root / "etc/passwd", "wb") as file:
        file.truncate(1 << 40)
    assert passwd_refusal(read_accounts(str(root))).code is codes.FILE_TOO_LARGE
    line = b"#" * 1023 + b"\n"
    content = line * (MAX_FILE_BYTES // len(line))
    (root / "etc/passwd").write_bytes(content + b"\n")
    assert passwd_refusal(read_accounts(str(root))).code is codes.FILE_TOO_LARGE
    (root / "etc/passwd").write_bytes(content)
    assert read_accounts(str(root)).passwd.usable() == ()


def test_a_name_with_a_nul_byte_is_no_root() -> None:
    with pytest.raises(Refusal):
        read_accounts("/\0etc")
