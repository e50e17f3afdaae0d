"""Read account files of a root file system that is not trusted.

Every open is relative to a descriptor and follows no symbolic link in any component below the
root, so that an image cannot make us read, or later replace, a file outside it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.accounts import MAX_FILE_BYTES, Accounts, group_file, passwd_file
from supervisor.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

STRICT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
# Without O_NONBLOCK an image's FIFO named passwd would hold the start for ever.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


def read_accounts(root: str = "/") -> Accounts:
    """``etc/passwd`` and ``etc/group`` below ``root``, each as records or as the reason why not.

    Refused as untrusted is a file, or an ``etc``, that somebody but root owns or could write.
    Raises Refusal ``identity.not-a-root`` where ``root`` itself cannot be opened.
    """
    contents: dict[str, bytes | Refusal] = {}
    with opened_root(root) as root_fd:
        try:
            with opened_etc(root_fd) as etc_fd:
                _check_trust(os.fstat(etc_fd), "/etc")
                for name in ("passwd", "group"):
                    contents[name] = _trusted_content(etc_fd, name)
        except Refusal as refusal:
            contents = {"passwd": refusal, "group": refusal}
    return Accounts(
        passwd=passwd_file("/etc/passwd", contents["passwd"]),
        group=group_file("/etc/group", contents["group"]),
    )


@contextmanager
def opened_root(root: str) -> Iterator[int]:
    """A descriptor of the root directory, the only path that is taken at its word."""
    try:
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as failure:
        raise Refusal(codes.NOT_A_ROOT, f"{root}: {failure}") from failure
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_etc(root_fd: int) -> Iterator[int]:
    """A descriptor of ``etc`` below the root; raises Refusal ``identity.file-*``."""
    descriptor = _open(root_fd, "etc", "/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(etc_fd: int, name: str) -> Iterator[int]:
    """A readable descriptor of a regular file in ``etc``; raises Refusal ``identity.file-*``."""
    path = f"/etc/{name}"
    descriptor = _open(etc_fd, name, path, READ)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refusal(codes.FILE_NOT_REGULAR, f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def content_of(descriptor: int, name: str) -> bytes:
    """The whole file; of one above its limit a byte too much, which the parser then refuses.

    Raises Refusal ``identity.file-unreadable``.
    """
    blocks = []
    left = MAX_FILE_BYTES + 1
    try:
        while left and (block := os.read(descriptor, left)):
            blocks.append(block)
            left -= len(block)
    except OSError as failure:
        raise Refusal(codes.FILE_UNREADABLE, f"/etc/{name}: {failure.strerror}") from failure
    return b"".join(blocks)


def _trusted_content(etc_fd: int, name: str) -> bytes | Refusal:
    try:
        with opened_file(etc_fd, name) as descriptor:
            _check_trust(os.fstat(descriptor), f"/etc/{name}")
            return content_of(descriptor, name)
    except Refusal as refusal:
        return refusal


def _check_trust(status: os.stat_result, path: str) -> None:
    """Only root may have written it. Group 0 may: the workload never holds that group."""
    if status.st_uid != 0:
        raise Refusal(codes.FILE_UNTRUSTED, f"{path} is owned by uid {status.st_uid}")
    if status.st_mode & stat.S_IWOTH:
        raise Refusal(codes.FILE_UNTRUSTED, f"{path} is writable by everybody")
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        raise Refusal(codes.FILE_UNTRUSTED, f"{path} is writable by group {status.st_gid}")


def _open(directory_fd: int, name: str, path: str, flags: int) -> int:
    try:
        return openat2(directory_fd, name, flags, resolve=STRICT)
    except OSError as failure:
        match failure.errno:
            case errno.ENOENT:
                raise Refusal(codes.FILE_MISSING, f"{path} does not exist") from failure
            case errno.ELOOP:
                raise Refusal(codes.FILE_LINK, f"{path} is a symbolic link") from failure
            case errno.ENOTDIR | errno.ENXIO:
                raise Refusal(codes.FILE_NOT_REGULAR, f"{path}: {failure.strerror}") from failure
            case _:
                raise Refusal(codes.FILE_UNREADABLE, f"{path}: {failure}") from failure
