"""Read the policy file that argv names, and only if the image cannot have written it.

A *trusted file* (decisions, "Start and trust") is owned by root, not writable by others, and on
another mount than the container's root file system. A ConfigMap's file is a symlink to a sibling
directory, so the directory is opened and the name resolved beneath it.
"""

import os
import stat

from supervisor.errors import Refusal
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from supervisor.startup import codes

POLICY_BYTES = 1 << 20  # the loader's own bound; a larger file is not read at all


def read_policy(path: str, *, from_image: bool) -> bytes:
    """The bytes of a trusted policy file.

    Raises Refusal ``policy.missing``, ``policy.untrusted`` or ``policy.invalid``.
    """
    descriptor = _open_beneath(path)
    try:
        complaint = untrusted(os.fstat(descriptor))
        if complaint is None and not from_image and _on_root_mount(descriptor):
            complaint = "it is on the container's root file system, so the image may have made it"
        if complaint is not None:
            raise Refusal(codes.POLICY_UNTRUSTED, f"{path}: {complaint}")
        return _read_bounded(descriptor, path)
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


def _open_beneath(path: str) -> int:
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
        raise Refusal(codes.POLICY_MISSING, f"{path}: {error}") from error
    except OSError as error:
        raise Refusal(codes.POLICY_MISSING, f"{path}: {error.strerror}") from error


def _on_root_mount(descriptor: int) -> bool:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _mount_id(descriptor) == _mount_id(root)
    finally:
        os.close(root)


def _mount_id(descriptor: int) -> str:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return line
    raise Refusal(codes.POLICY_UNTRUSTED, "the kernel does not say which mount the file is on")


def _read_bounded(descriptor: int, path: str) -> bytes:
    blocks = []
    size = 0
    while block := os.read(descriptor, POLICY_BYTES):
        size += len(block)
        if size > POLICY_BYTES:
            raise Refusal(codes.POLICY_INVALID, f"{path} is longer than {POLICY_BYTES} bytes")
        blocks.append(block)
    return b"".join(blocks)
