"""``seed SOURCE DEST``: copy what the image has in its work directory into an empty volume, once.

A volume that is mounted there would hide it. Runs as the workload itself, without privilege, so it
can read nothing that the workload could not; no shell, no tar. Nothing that is in the volume is
ever replaced, and a mark in it says that the copy is complete.
"""

import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from supervisor.errors import Refusal
from supervisor.install import codes

MARK = ".sandbox-seeded"
# The part of a file that an interrupted copy left bears this name; a second run removes it.
PART = ".sandbox-seed-part"
# A work directory in an image is a checkout, or a few. More is a mistake, or a trap.
MAX_ENTRIES = 1_000_000
MAX_DEPTH = 256
# setuid, setgid and sticky bits meant the image's owners, not the workload.
KEPT_MODE = 0o777
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Seeded:
    """What was done: entries copied, entries that were there, special files left out."""

    copied: int = 0
    kept: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def entries(self) -> int:
        """All that were looked at."""
        return self.copied + self.kept + len(self.left_out)


def seed(source: str, destination: str) -> Seeded | None:
    """Copy; None where the volume bears the mark already. Raises Refusal ``install.seed``."""
    done = Seeded()
    try:
        with ExitStack() as held:
            volume = _open(held, destination)
            if _exists(volume, MARK):
                return None
            with suppress(FileNotFoundError):
                _copy_directory(_open(held, source), volume, "", done)
            os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=volume))
            os.fsync(volume)
    except OSError as error:
        raise Refusal(codes.SEED, f"{source} to {destination}: {error}") from error
    return done


def _copy_directory(given: int, made: int, path: str, done: Seeded) -> None:
    if path.count("/") > MAX_DEPTH:
        raise Refusal(codes.SEED, f"directories lie deeper than {MAX_DEPTH}")
    with suppress(FileNotFoundError):
        os.unlink(PART, dir_fd=made)
    with os.scandir(given) as listing:
        names = sorted(item.name for item in listing)
    for name in names:
        if done.entries >= MAX_ENTRIES:
            raise Refusal(codes.SEED, f"more than {MAX_ENTRIES} entries")
        _copy_entry(given, made, name, f"{path}/{name}", done)


def _copy_entry(given: int, made: int, name: str, path: str, done: Seeded) -> None:
    facts = os.stat(name, dir_fd=given, follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        _copy_subdirectory(given, made, name, path, done)
    elif not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
        done.left_out.append(path)
    elif _exists(made, name):
        done.kept += 1
    elif stat.S_ISLNK(facts.st_mode):
        os.symlink(os.readlink(name, dir_fd=given), name, dir_fd=made)
        done.copied += 1
    else:
        _copy_file(given, made, name)
        done.copied += 1


def _copy_subdirectory(given: int, made: int, name: str, path: str, done: Seeded) -> None:
    """Enter what is there; make what is not, with its mode only when it is filled."""
    with ExitStack() as held:
        inner = _open(held, name, given)
        fresh = not _exists(made, name)
        if fresh:
            os.mkdir(name, 0o700, dir_fd=made)
        target = _open(held, name, made)
        _copy_directory(inner, target, path, done)
        if fresh:
            os.fchmod(target, os.fstat(inner).st_mode & KEPT_MODE)
            done.copied += 1
        else:
            done.kept += 1


def _copy_file(given: int, made: int, name: str) -> None:
    """Under another name first: what has the name is complete."""
    with ExitStack() as held:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=given)
        held.callback(os.close, source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        part = os.open(PART, flags, 0o600, dir_fd=made)
        held.callback(os.close, part)
        while os.sendfile(part, source, None, 1 << 30):
            pass
        os.fchmod(part, os.fstat(source).st_mode & KEPT_MODE)
    os.rename(PART, name, src_dir_fd=made, dst_dir_fd=made)


def _open(held: ExitStack, path: str, directory: int | None = None) -> int:
    descriptor = os.open(path, _DIRECTORY, dir_fd=directory)
    held.callback(os.close, descriptor)
    return descriptor


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
