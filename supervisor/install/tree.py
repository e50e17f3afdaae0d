"""Walk and digest a runtime tree, relative to a directory that is held open.

The digest is the build's: SHA-256 over the sorted lines ``mode sha256 path`` of every file but the
one that records it.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.settings import RUNTIME_DIGEST

# Our tree has some 2000 files in 300 directories, four levels deep; ten times that is not ours.
MAX_ENTRIES = 50_000
MAX_DEPTH = 32
BLOCK = 1 << 18
RECORD_BYTES = 65  # 64 hexadecimal digits and a line feed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or directory of the tree; ``path`` is relative, with ``/``."""

    path: str
    is_directory: bool
    mode: int


class StrangeTreeError(Exception):
    """The tree holds what no runtime holds: a link, a device, too many entries."""


def entries(root: int) -> list[Entry]:
    """Every entry below ``root``, directories before what they hold. Raises StrangeTreeError."""
    found: list[Entry] = []
    for entry in _below(root, "", MAX_DEPTH):
        found.append(entry)
        if len(found) > MAX_ENTRIES:
            raise StrangeTreeError(f"more than {MAX_ENTRIES} entries")
    return found


def digest(root: int, listed: list[Entry]) -> str:
    """The tree's digest as 64 hexadecimal digits."""
    whole = hashlib.sha256()
    files = (entry for entry in listed if not entry.is_directory and entry.path != RUNTIME_DIGEST)
    for entry in sorted(files, key=_sort_key):
        whole.update(f"{entry.mode:04o} {_content(root, entry.path)} {entry.path}\n".encode())
    return whole.hexdigest()


def recorded_digest(root: int) -> str | None:
    """What the build, or whoever changed the tree, recorded; None where nothing is."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(RUNTIME_DIGEST, flags, dir_fd=root)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(RECORD_BYTES).decode("ascii", "replace").strip()


def _sort_key(entry: Entry) -> tuple[str, ...]:
    """As pathlib sorts, which is how the build does it."""
    return tuple(entry.path.split("/"))


def _below(directory: int, prefix: str, depth: int) -> Iterator[Entry]:
    if depth == 0:
        raise StrangeTreeError(f"{prefix} lies too deep")
    with os.scandir(directory) as listing:
        names = sorted(item.name for item in listing)
    for name in names:
        path = f"{prefix}{name}"
        facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        mode = stat.S_IMODE(facts.st_mode)
        if stat.S_ISREG(facts.st_mode):
            yield Entry(path=path, is_directory=False, mode=mode)
        elif stat.S_ISDIR(facts.st_mode):
            yield Entry(path=path, is_directory=True, mode=mode)
            inner = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
            )
            try:
                yield from _below(inner, f"{path}/", depth - 1)
            finally:
                os.close(inner)
        else:
            raise StrangeTreeError(f"{path} is neither a file nor a directory")


def _content(root: int, path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        content = hashlib.sha256()
        while block := os.read(descriptor, BLOCK):
            content.update(block)
        return content.hexdigest()
    finally:
        os.close(descriptor)
