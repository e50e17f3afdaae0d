"""Is the image's working directory usable? A child that already is the identity tries it.

Nothing is predicted from mode bits: the child walks and writes, so ACLs, mounts and security
modules count as they will count for the workload. Nothing is created for good or changed.
"""

import errno
import os
from typing import Any

from supervisor.errors import Refusal
from supervisor.kernel import ids
from supervisor.workspace import codes
from supervisor.workspace.children import Child
from supervisor.workspace.ownership import HOLD
from supervisor.workspace.plan import Owner, ValidateAsIdentity
from supervisor.workspace.report import shown
from supervisor.workspace.watch import Watch

# File systems without O_TMPFILE say so in one of three ways (open(2), O_TMPFILE).
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

# A dead network file system must not hold the start for the whole deadline of a big takeover.
VALIDATION_S = 30.0

PROBE_MODE = 0o600


def validate(step: ValidateAsIdentity, watch: Watch) -> None:
    """Do one ValidateAsIdentity step. Raises Refusal."""
    what = f"validating {shown(step.path)} as {step.owner.uid}:{step.owner.gid}"
    with Child(lambda: _as_identity(step), what) as child:
        child.answer(min(VALIDATION_S, watch.left_s))


def _as_identity(step: ValidateAsIdentity) -> dict[str, Any]:
    _become(step.owner)
    _walk_and_write(step.path)
    return {}


def _become(owner: Owner) -> None:
    """Become the identity in this child, and make sure that nothing of root is left."""
    if os.getresuid() != (owner.uid,) * 3:
        try:
            ids.setgroups(owner.groups)
            ids.setresgid(owner.gid)
            ids.setresuid(owner.uid)
        except OSError as error:
            raise Refusal(codes.IDENTITY_NOT_ASSUMED, str(error)) from error
    # As bytes: a codec not loaded yet would be imported, which the identity may not be able to.
    with open("/proc/self/status", "rb") as status:
        effective = next(line for line in status if line.startswith(b"CapEff:")).split()[1]
    if int(effective, 16):
        cause = f"capabilities are left after the change of ids: {int(effective, 16):#x}"
        raise Refusal(codes.IDENTITY_NOT_ASSUMED, cause)


def _walk_and_write(path: str) -> None:
    held = os.open("/", HOLD)
    reached = ""
    for name in [*path[1:].split("/"), "."]:
        fd = _step_into(held, name, reached or "/", path)
        os.close(held)
        held = fd
        reached = reached if name == "." else f"{reached}/{name}"
    _write(held, path)


def _step_into(held: int, name: str, parent: str, path: str) -> int:
    """Hold the next directory. The last step, ``.``, asks for search permission on the last."""
    try:
        return os.open(name, HOLD | os.O_DIRECTORY, dir_fd=held)
    except OSError as error:
        match error.errno:
            case errno.EACCES:
                cause = f"{shown(parent)} on the way to {shown(path)}"
                raise Refusal(codes.NOT_TRAVERSABLE, cause) from error
            case errno.ENOENT:
                cause = f"{shown(parent)} holds no {shown(name)}"
                raise Refusal(codes.MISSING, cause) from error
            case errno.ENOTDIR:
                raise _no_directory(held, name, parent) from error
            case _:
                raise


def _no_directory(held: int, name: str, parent: str) -> Refusal:
    where = shown(f"{parent.rstrip('/')}/{name}")
    try:
        target = os.readlink(name, dir_fd=held)
    except OSError:  # EINVAL: no link
        return Refusal(codes.NOT_A_DIRECTORY, f"{where} is not a directory")
    return Refusal(codes.SYMLINK, f"{where} is a link to {shown(target)}")


def _write(directory: int, path: str) -> None:
    """Create a file without a name; where the file system cannot, one with a name for an instant."""
    try:
        os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY, PROBE_MODE, dir_fd=directory))
    except OSError as error:
        if error.errno not in NO_TMPFILE:
            raise _not_writable(error, path) from error
    else:
        return
    name = f".sandbox-supervisor-{os.urandom(8).hex()}"
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
    try:
        os.close(os.open(name, flags, PROBE_MODE, dir_fd=directory))
        os.unlink(name, dir_fd=directory)
    except OSError as error:
        raise _not_writable(error, path) from error


def _not_writable(error: OSError, path: str) -> Refusal:
    status = os.stat(path, follow_symlinks=False)
    owner = f"it belongs to {status.st_uid}:{status.st_gid}, mode {status.st_mode & 0o7777:04o}"
    return Refusal(codes.NOT_WRITABLE, f"{shown(path)}: {error.strerror}; {owner}")
