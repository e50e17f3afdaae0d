"""The kernel enforces what ``openat2`` was asked for."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.kernel.libc import SyscallError
from supervisor.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

STRICT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").write_text("secret")
    inside = tmp_path / "top"
    (inside / "dir").mkdir(parents=True)
    (inside / "dir" / "file").write_text("content")
    (inside / "leaf").symlink_to("dir/file")
    (inside / "parent").symlink_to("dir")
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_plain_path_opens_close_on_exec(top: int) -> None:
    descriptor = openat2(top, "dir/file", os.O_RDONLY, resolve=STRICT)
    try:
        assert os.read(descriptor, 100) == b"content"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_is_created_with_its_mode(top: int) -> None:
    descriptor = openat2(top, b"dir/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, STRICT)
    try:
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("leaf", errno.ELOOP),
        ("parent/file", errno.ELOOP),
        ("../outside", errno.EXDEV),
        ("dir/../../outside", errno.EXDEV),
        ("/etc/passwd", errno.EXDEV),
        ("missing", errno.ENOENT),
    ],
)
def test_no_way_out_opens(top: int, path: str, number: int) -> None:
    with pytest.raises(SyscallError) as caught:
        openat2(top, path, os.O_RDONLY, resolve=STRICT)
    assert (caught.value.syscall, caught.value.errno) == ("openat2", number)


def test_another_mount_is_not_entered() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(SyscallError) as caught:
            openat2(root, "proc/self/status", os.O_RDONLY, resolve=RESOLVE_NO_XDEV)
        assert caught.value.errno == errno.EXDEV
    finally:
        os.close(root)


def test_a_path_with_a_nul_byte_is_not_cut_short(top: int) -> None:
    with pytest.raises(ValueError, match="NUL"):
        openat2(top, "dir/file\0.txt", os.O_RDONLY)
