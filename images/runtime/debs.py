"""Debian packages: exactly the locked ones, by digest, unpacked without running anything of them.

Downloads go through apt-get with the machine's own sources. The archive keeps only the newest
versions, so a lock that is behind cannot be fetched any more: that is said, with the remedy.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from images.runtime.commands import BuildFailed, run

UPDATE_LOCK = "Run 'apt-get update', and if that does not help images/runtime/update-lock."


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """One line of debs.lock."""

    name: str
    version: str
    sha256: str


def read_lock(path: Path) -> tuple[Deb, ...]:
    """Parse debs.lock: ``name version sha256`` a line; BuildFailed for anything else."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or len(words[2]) != 64:
            raise BuildFailed(f"{path}: not 'name version sha256': {line!r}", UPDATE_LOCK)
        found.append(Deb(name=words[0], version=words[1], sha256=words[2]))
    return tuple(found)


def fetch(deb: Deb, cache: Path) -> Path:
    """Return the package file, downloaded into ``cache`` unless it is there already."""
    kept = cache / f"{deb.name}-{deb.sha256}.deb"
    if kept.exists():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        remedy = f"{deb.name} {deb.version} is no longer in the archive? {UPDATE_LOCK}"
        run(
            *("apt-get", "-q", "download", f"{deb.name}={deb.version}"),
            directory=Path(scratch),
            remedy=remedy,
        )
        (file,) = Path(scratch).glob("*.deb")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != deb.sha256:
            raise BuildFailed(
                f"{deb.name} {deb.version} has digest {digest}, debs.lock says {deb.sha256}",
                "Find out why before running images/runtime/update-lock.",
            )
        file.rename(kept)
    return kept


def unpack(debs: tuple[Deb, ...], cache: Path, root: Path) -> None:
    """Unpack every package below ``root``; maintainer scripts are not run."""
    root.mkdir(parents=True)
    for deb in debs:
        run("dpkg-deb", "-x", fetch(deb, cache), root)
