"""Read a file that argv names, and only if the image cannot have written it.

A *trusted file* (decisions, "Start and trust") is owned by root, not writable by others, and on
another mount than the container's root file system. A ConfigMap's file is a symlink to a sibling
directory, so the directory is opened and the name resolved beneath it.
"""

import os
import stat
from typing import NamedTuple

from supervisor.errors import Code, Refusal
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2


class Kind(NamedTuple):
    """What sort of file: its codes, the bytes above which it is not read at all, who may read it."""

    missing: Code
    untrusted: Code
    too_long: Code
    most_bytes: int
    secret: bool = False  # nobody but root may read it


def read_trusted(path: str, kind: Kind, *, from_image: bool = False) -> bytes:
    """The bytes of a trusted file; ``from_image``: one on the root file system will do.

    Raises Refusal with one of the codes of its kind.
    """
    descriptor = _open_beneath(path, kind)
    try:
        facts = os.fstat(descriptor)
        complaint = untrusted(facts) or (exposed(facts) if kind.secret else None)
        if complaint is None and not from_image and _on_root_mount(descriptor):
            complaint = "it is on the container's root file system, so the image may have made it"
        if complaint is not None:
            raise Refusal(kind.untrusted, f"{path}: {complaint}")
        return _read_bounded(descriptor, path, kind)
    finally:
        os.close(descriptor)


def untrusted(facts: os.stat_result) -> str | None:
    """Why a file with these facts is not to be trusted, or None."""
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file"
    if facts.st_uid != 0:
        return f"its owner is uid {facts.st_uid}, not root"
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others than root may write it (mode {stat.S_IMODE(facts.st_mode):04o})"
    return None


def exposed(facts: os.stat_result) -> str | None:
    """Why a file with these facts is no secret, or None."""
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"others than root may read it (mode {stat.S_IMODE(facts.st_mode):04o})"
    return None


def _open_beneath(path: str, kind: Kind) -> int:
    directory, name = os.path.split(os.path.abspath(path))
    try:
        parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # O_NONBLOCK: a FIFO must not hold the start up.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
            return openat2(parent, name, flags=flags, resolve=resolve)
        finally:
            os.close(parent)
    except SyscallError as error:
        raise Refusal(kind.missing, f"{path}: {error}") from error
    except OSError as error:
        raise Refusal(kind.missing, f"{path}: {error.strerror}") from error


def _on_root_mount(descriptor: int) -> bool:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _mount_id(descriptor) == _mount_id(root)
    finally:
        os.close(root)


def _mount_id(descriptor: int) -> str:
    # proc_pid_fdinfo(5): there is such a line since Linux 3.15.
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        (found,) = [line for line in file if line.startswith("mnt_id:")]
    return found


def _read_bounded(descriptor: int, path: str, kind: Kind) -> bytes:
    blocks = []
    size = 0
    while block := os.read(descriptor, kind.most_bytes):
        size += len(block)
        if size > kind.most_bytes:
            raise Refusal(kind.too_long, f"{path} is longer than {kind.most_bytes} bytes")
        blocks.append(block)
    return b"".join(blocks)
