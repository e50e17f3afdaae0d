"""The directory that the containers of a pod share: who may make a name in it, who may pass.

    SHARED          0:0 0755            net-init prepares it, whatever fsGroup or the umask did
    SHARED/control  the sidecar's 0711  the workload can reach the socket by its name while there
                                        is one, and can neither list, make, nor rename anything

The agent's supervisor has the workload's uid, so no mode can tell the two apart. What keeps the
workload off the socket is that the socket is gone before it starts (supervisor.sidecar.host).
"""

import contextlib
import os
import stat

from supervisor.errors import Refusal
from supervisor.sidecar.codes import SHARED_DIRECTORY

CONTROL = "control"
SOCKET = "agent.sock"
SESSION = "session"
BEACON = "beacon"  # supervisor.sidecar.beacon
SHARED_MODE = 0o755
CONTROL_MODE = 0o711
SOCKET_MODE = 0o666  # SO_PEERCRED decides, not the mode
SESSION_BYTES = 64  # 32 bytes as hexadecimal

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(shared: str, *, sidecar_uid: int) -> None:
    """In net-init, as root: set owners and modes, forget what an earlier pod left. Raises Refusal."""
    with _named(shared):
        directory = os.open(shared, _OPEN)
        try:
            os.fchown(directory, 0, 0)
            os.fchmod(directory, SHARED_MODE)
            _make_control(directory, sidecar_uid)
        finally:
            os.close(directory)


def _make_control(shared: int, owner: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(CONTROL, dir_fd=shared)
    # Root's for as long as we empty it: without DAC_OVERRIDE root is nobody special. Nobody else can
    # exchange the name, since the directory above is root's by now.
    os.chown(CONTROL, 0, 0, dir_fd=shared, follow_symlinks=False)
    if not stat.S_ISDIR(os.stat(CONTROL, dir_fd=shared, follow_symlinks=False).st_mode):
        raise Refusal(SHARED_DIRECTORY, f"{CONTROL} is there and no directory")
    os.chmod(CONTROL, 0o700, dir_fd=shared)
    control = os.open(CONTROL, _OPEN, dir_fd=shared)
    try:
        for name in (SOCKET, SESSION, BEACON):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=control)
        os.chmod(control, CONTROL_MODE)
        os.fchown(control, owner, owner)
    finally:
        os.close(control)


def claim(shared: str) -> int:
    """In the sidecar: a descriptor of the control directory, ours alone to write. Raises Refusal.

    net-init made it for an unprivileged sidecar; as root we replace it by one of our own, which an
    egress that was taken over cannot write either.
    """
    with _named(shared):
        directory = os.open(shared, _OPEN)
        try:
            _require_closed(shared, os.fstat(directory))
            owner = os.geteuid()
            if owner == 0 and os.stat(CONTROL, dir_fd=directory, follow_symlinks=False).st_uid:
                os.rmdir(CONTROL, dir_fd=directory)
                os.mkdir(CONTROL, dir_fd=directory)
            control = os.open(CONTROL, _OPEN, dir_fd=directory)
        finally:
            os.close(directory)
        if os.fstat(control).st_uid != owner:
            raise Refusal(SHARED_DIRECTORY, f"{shared}/{CONTROL} is not ours (uid {owner})")
        os.chmod(control, CONTROL_MODE)
        return control


def _require_closed(shared: str, facts: os.stat_result) -> None:
    if facts.st_uid != 0 or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(facts.st_mode)
        raise Refusal(
            SHARED_DIRECTORY,
            f"{shared} belongs to uid {facts.st_uid} with mode {mode:04o}: others can write it",
            "Run 'net-init --shared' with the same volume first.",
        )


@contextlib.contextmanager
def _named(shared: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a context manager
    try:
        yield
    except OSError as error:
        where = error.filename or ""
        raise Refusal(SHARED_DIRECTORY, f"{shared} {where}: {error.strerror}") from error


def remember(control: int, session: bytes) -> None:
    """Write the session's digest where only the sidecar reads it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(SESSION, flags, 0o600, dir_fd=control)
    try:
        os.write(descriptor, session.hex().encode())
    finally:
        os.close(descriptor)


def recall(control: int) -> bytes | None:
    """The digest that a predecessor of this sidecar wrote; None where there was none."""
    try:
        descriptor = os.open(SESSION, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=control)
    except FileNotFoundError:
        return None
    try:
        return bytes.fromhex(os.read(descriptor, SESSION_BYTES).decode("ascii", "replace"))
    except ValueError:
        return b""  # half written: no token has this digest, and there was a session
    finally:
        os.close(descriptor)


def forget(control: int) -> None:
    """There is no session any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SESSION, dir_fd=control)
