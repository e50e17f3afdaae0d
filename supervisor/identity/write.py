"""Put planned entries into account files: each file is replaced at once or not at all.

The new content is written to a file beside the old one and renamed over it (rename(2) is atomic),
so that a reader sees either; a hard link or an open descriptor keeps the old one. Whatever stands
at the name, a link too, is replaced and not followed.
"""

import errno
import os
from dataclasses import dataclass

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.account_files import (
    STRICT,
    content_of,
    opened_etc,
    opened_file,
    opened_root,
)
from supervisor.identity.entries import Addition, EntryPlan
from supervisor.kernel.openat2 import openat2

# A read-only mount, a directory or mount that belongs to somebody else, and a file that is itself a
# mount (podman mounts a passwd of its own with --userns=keep-id): not ours to change.
UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.EBUSY})
ETC_MODE = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport:
    """Which files of ``etc`` were replaced, and which were left alone and why."""

    written: tuple[str, ...]
    notes: tuple[str, ...]


def apply_entries(root: str, plan: EntryPlan) -> EntryReport:
    """Carry the plan out below ``root``; a file that cannot be written is left alone and noted.

    Raises Refusal ``identity.file-changed`` where a file is no longer what the plan saw,
    ``identity.write-failed`` for every other failure (a full disk), ``identity.file-*``. A file that
    failed is as it was before.
    """
    written = []
    notes = list(plan.notes)
    with opened_root(root) as root_fd:
        for addition in plan.additions:
            try:
                _replace(root_fd, addition)
            except OSError as failure:
                if failure.errno not in UNWRITABLE:
                    raise Refusal(
                        codes.WRITE_FAILED, f"/etc/{addition.name}: {failure}"
                    ) from failure
                notes.append(f"/etc/{addition.name} is left alone: {failure.strerror}")
            else:
                written.append(addition.name)
    return EntryReport(written=tuple(written), notes=tuple(notes))


def _replace(root_fd: int, addition: Addition) -> None:
    if addition.before is None:
        _make_etc(root_fd)
    with opened_etc(root_fd) as etc_fd:
        if addition.before is None:
            _write_beside(etc_fd, addition, None)
            return
        with opened_file(etc_fd, addition.name) as old_fd:
            if content_of(old_fd, addition.name) != addition.before:
                raise Refusal(codes.FILE_CHANGED, f"/etc/{addition.name} is not what was read")
            _write_beside(etc_fd, addition, old_fd)


def _make_etc(root_fd: int) -> None:
    try:
        os.mkdir("etc", 0o700, dir_fd=root_fd)
    except FileExistsError:
        return
    with opened_etc(root_fd) as etc_fd:
        os.fchmod(etc_fd, ETC_MODE)  # the umask has no say
    # An O_PATH descriptor, as root_fd is, cannot be synced.
    readable_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        os.fsync(readable_fd)
    finally:
        os.close(readable_fd)


def _write_beside(etc_fd: int, addition: Addition, old_fd: int | None) -> None:
    # One fixed name: what a killed predecessor left is found and removed, not collected.
    temporary = f".{addition.name}.sandbox-supervisor"
    _unlink(etc_fd, temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = openat2(etc_fd, temporary, flags, 0o600, STRICT)
    try:
        try:
            _fill(descriptor, addition, old_fd)
        finally:
            os.close(descriptor)
        if old_fd is None:
            _name_new(etc_fd, temporary, addition.name)
        else:
            os.rename(temporary, addition.name, src_dir_fd=etc_fd, dst_dir_fd=etc_fd)
    except BaseException:
        _unlink(etc_fd, temporary)
        raise
    os.fsync(etc_fd)


def _name_new(etc_fd: int, temporary: str, name: str) -> None:
    """Give a file its name by link(2): unlike rename(2) it replaces nothing that has appeared."""
    try:
        os.link(temporary, name, src_dir_fd=etc_fd, dst_dir_fd=etc_fd)
    except FileExistsError as failure:
        raise Refusal(codes.FILE_CHANGED, f"/etc/{name} has appeared meanwhile") from failure
    os.unlink(temporary, dir_fd=etc_fd)


def _fill(descriptor: int, addition: Addition, old_fd: int | None) -> None:
    """Content, owner, extended attributes and mode, in this order: chown(2) clears mode bits."""
    content = memoryview(addition.after)
    while content:
        content = content[os.write(descriptor, content) :]
    if old_fd is None:
        os.fchmod(descriptor, addition.mode)
    else:
        old = os.fstat(old_fd)
        new = os.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        for attribute in os.listxattr(old_fd):
            os.setxattr(descriptor, attribute, os.getxattr(old_fd, attribute))
        os.fchmod(descriptor, old.st_mode & 0o7777)
    os.fsync(descriptor)


def _unlink(etc_fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=etc_fd)
    except FileNotFoundError:
        return
