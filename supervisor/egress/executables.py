"""SHA-256 of executables: remembered by file identity, trusted on first use by path (decision 24).

A file is the same as long as device, inode, size, mtime and ctime are: nobody without privilege
can change bytes and keep ctime. The first digest seen at a path is that path's program for the
life of the sandbox; another one later is a replaced program, whatever the policy says about it.
"""

import hashlib
import os
from typing import NamedTuple

# A sandbox runs tens of programs; an entry is about 200 bytes.
REMEMBERED = 4096
BLOCK = 1 << 20


class FileIdentity(NamedTuple):
    """What stays the same as long as the file's bytes do."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def identify(fd: int) -> FileIdentity:
    """The identity of an open file; raises OSError."""
    status = os.fstat(fd)
    return FileIdentity(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def digest_of(fd: int) -> str:
    """SHA-256 of an open file from its start, hexadecimal; blocks. Raises OSError."""
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


class Digests:
    """Both memories; pure but for what is handed in."""

    def __init__(self) -> None:
        self._by_identity: dict[FileIdentity, str] = {}
        self._first: dict[bytes, str] = {}

    def known(self, identity: FileIdentity) -> str | None:
        """The digest of a file that was hashed before."""
        return self._by_identity.get(identity)

    def remember(self, identity: FileIdentity, digest: str) -> None:
        """Keep a digest; the oldest goes when there are too many, and is hashed again if needed."""
        if len(self._by_identity) >= REMEMBERED:
            del self._by_identity[next(iter(self._by_identity))]
        self._by_identity[identity] = digest

    def is_first_or_same(self, path: bytes, digest: str) -> bool:
        """Whether ``path`` has had no other digest before; the first one is kept for good.

        A full memory trusts no new path: forgetting one would let its program be replaced.
        """
        first = self._first.get(path)
        if first is None:
            if len(self._first) >= REMEMBERED:
                return False
            self._first[path] = digest
            return True
        return first == digest
