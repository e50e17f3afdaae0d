"""What a finished tree is: its digest, its sizes, and that its modes and times are canonical."""

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

from images.runtime.commands import BuildFailed
from supervisor.settings import RUNTIME_DIGEST

# Any fixed time will do; copies of the tree then agree in it. 2024-01-01T00:00:00Z.
EPOCH = 1704067200
EXECUTABLE = frozenset({"sandbox-supervisor", "bin/python3", "lib/sandbox-supervisor"})
BLOCK = 512


def normalise(tree: Path) -> None:
    """Give every file its canonical mode and time; BuildFailed for anything but plain files."""
    for path in (tree, *tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BuildFailed(f"{name} is neither a file nor a directory", "Prune or resolve it.")
        path.chmod(0o755 if path.is_dir() or name in EXECUTABLE else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def record_digest(tree: Path) -> None:
    """Leave the digest of a normalised tree in it, for the containment report and ``install``."""
    file = tree / RUNTIME_DIGEST
    file.write_text(f"{digest(tree)}\n")
    file.chmod(0o644)
    for changed in (file, tree):
        os.utime(changed, (EPOCH, EPOCH))


def digest(tree: Path) -> str:
    """SHA-256 over the sorted lines ``mode sha256 path`` of every file but the one that records it."""
    whole = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file() and path != tree / RUNTIME_DIGEST:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{mode:04o} {content} {path.relative_to(tree)}\n".encode())
    return whole.hexdigest()


def size_on_disk(tree: Path) -> int:
    """Bytes of all blocks in use, as du counts them."""
    return sum(path.lstat().st_blocks * BLOCK for path in (tree, *tree.rglob("*")))


def size_compressed(tree: Path) -> int:
    """Bytes of the tree as a tar archive at gzip's default level."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=6) as archive:
        archive.add(tree, arcname=".")
    return sink.getbuffer().nbytes
