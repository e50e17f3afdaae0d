"""The judgements that several steps share: whose is it, who may write there, why did chown fail."""

import errno
import os
import stat

from supervisor.errors import Code, Refusal
from supervisor.workspace import codes
from supervisor.workspace.plan import Owner
from supervisor.workspace.report import shown

# O_PATH takes hold of an inode, whatever it is, without opening it: no FIFO blocks, no device
# reacts, no read permission is needed, and a symbolic link is held itself.
HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def belongs_to(status: os.stat_result, owner: Owner) -> bool:
    """Tell whether uid and gid already are the identity's."""
    return status.st_uid == owner.uid and status.st_gid == owner.gid


def only_root_writes(status: os.stat_result) -> bool:
    """Tell whether nobody but root can change what a directory holds.

    POSIX ACLs are covered: a named entry's rights are limited by the mask, and the mask is what
    the group bits show.
    """
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def may_traverse(status: os.stat_result, owner: Owner) -> bool:
    """Tell from the mode bits whether ``owner`` may pass through a directory."""
    if status.st_uid == owner.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in (owner.gid, *owner.groups):
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def chown_refusal(error: OSError, path: str, *, may_chown: bool) -> Refusal:
    """Put a failed change of owner into the words that help."""
    code: Code
    match error.errno:
        case errno.EPERM | errno.EACCES if not may_chown:
            code = codes.CHOWN_CAPABILITY
        case errno.EPERM | errno.EACCES | errno.EINVAL:
            code = codes.CHOWN_REFUSED
        case errno.EROFS:
            code = codes.READ_ONLY
        case _:
            code = codes.SYSTEM_ERROR
    return Refusal(code, f"{shown(path)}: {error.strerror}")


def system_refusal(error: OSError, path: str) -> Refusal:
    """Put an error that nobody expected into a refusal that names call and place."""
    where = shown(os.fsdecode(error.filename)) if error.filename else shown(path)
    return Refusal(codes.SYSTEM_ERROR, f"{where}: {error}")
