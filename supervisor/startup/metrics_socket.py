"""Bind the metrics socket where ``--metrics-socket`` says, and only where nobody can replace it.

Whoever may rename what is in its directory could listen there instead and tell probes that all is
well. So every directory on the way has to be root's, or our own, and not writable by others; the
socket itself is for its owner alone.
"""

import os
import socket
import stat

from supervisor.errors import Refusal
from supervisor.startup import codes

BACKLOG = 16
MODE_MASK = 0o177  # leaves 0600


def bind_metrics_socket(path: str, *, workload_uid: int | None) -> socket.socket:
    """A listening stream socket. Raises Refusal.

    ``workload_uid`` is None where the workload lives in another container, so that only its mounts
    decide what it reaches.
    """
    if workload_uid == os.geteuid():
        cause = f"the workload has our uid {workload_uid}, so it could take the socket's place"
        raise Refusal(codes.METRICS_SOCKET, cause)
    if not path.startswith("/") or not os.path.basename(path):
        raise Refusal(codes.METRICS_SOCKET, f"{path} is not an absolute path of a socket")
    try:
        directory = _open_directory(os.path.dirname(path), is_shared=workload_uid is not None)
        try:
            return _bind(directory, os.path.basename(path), path)
        finally:
            os.close(directory)
    except OSError as error:
        raise Refusal(codes.METRICS_SOCKET, f"{path}: {error.strerror}") from error


def _open_directory(path: str, *, is_shared: bool) -> int:
    """Walk there without following links; the caller closes it. Raises OSError, Refusal."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here, shown = os.open("/", flags), "/"
    for name in (part for part in path.split("/") if part not in ("", ".")):
        shown = os.path.join(shown, name)
        try:
            below = os.open(name, flags, dir_fd=here)
        finally:
            os.close(here)
        here = below
        facts = os.fstat(here)
        is_open = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if is_shared and (is_open or facts.st_uid not in (0, os.geteuid())):
            os.close(here)
            mode = stat.S_IMODE(facts.st_mode)
            cause = f"{shown} is uid {facts.st_uid}'s, mode {mode:04o}: others can change it"
            raise Refusal(codes.METRICS_SOCKET, cause)
    return here


def _bind(directory: int, name: str, path: str) -> socket.socket:
    _remove_stale(directory, name, path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(MODE_MASK)
    try:
        # Through the descriptor: the directory that was looked at, and a short address (unix(7)).
        listener.bind(f"/proc/self/fd/{directory}/{name}")
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _remove_stale(directory: int, name: str, path: str) -> None:
    """What an earlier start left behind: a socket of ours that nobody listens on any more."""
    try:
        facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode) or facts.st_uid != os.geteuid():
        raise Refusal(codes.METRICS_SOCKET, f"{path} exists and is no socket of ours")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(f"/proc/self/fd/{directory}/{name}")
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
            return
    raise Refusal(codes.METRICS_SOCKET, f"somebody listens on {path}")
