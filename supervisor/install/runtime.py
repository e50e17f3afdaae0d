"""``install DEST``: put a copy of the running runtime into a volume.

    DEST/versions/DIGEST/…       the tree, complete or not there at all
    DEST/sandbox-supervisor      a link to versions/DIGEST/sandbox-supervisor

A tree is copied beside its place, read back, flushed and renamed; then the link is exchanged. The
launcher finds its tree through /proc/self/exe, where the link is already resolved: a supervisor
that runs from an older version keeps finding its own files after an upgrade.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from supervisor.errors import Refusal
from supervisor.install import codes
from supervisor.install.tree import Entry, StrangeTreeError, digest, entries, recorded_digest
from supervisor.kernel.syncfs import syncfs
from supervisor.startup.trusted_path import UntrustedLinkError, open_trusted

LAUNCHER = "sandbox-supervisor"
VERSIONS = "versions"
# Characters that our launcher refuses, because the loader gives them a meaning.
FORBIDDEN = ":;$"
# The new one, and the one before it, from which a supervisor may still be running.
KEPT_VERSIONS = 2
DIRECTORY_MODE = 0o755
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What now stands at the destination."""

    destination: str
    digest: str
    files: int
    copied: bool  # False: it was there, and whole


def install(source: str, destination: str) -> Installed:
    """Copy the tree ``source`` to ``destination``. Raises Refusal ``install.*``."""
    path = checked_destination(destination)
    try:
        with _opened(source) as tree, _destination(path) as top:
            return _install(tree, top, path)
    except StrangeTreeError as error:
        raise Refusal(codes.NOT_A_RUNTIME, f"{source}: {error}") from error
    except OSError as error:
        raise Refusal(codes.FAILED, f"{path}: {error}") from error


def checked_destination(text: str) -> str:
    """The path without a trailing slash, if a runtime can stand there."""
    path = text.rstrip("/")
    components = path.split("/")[1:]
    if not path.startswith("/") or "\0" in path:
        raise Refusal(codes.BAD_DESTINATION, f"{text!r} is not an absolute path")
    if any(component in ("", ".", "..") for component in components):
        raise Refusal(codes.BAD_DESTINATION, f"{text!r} is not in its shortest form")
    if any(character in path for character in FORBIDDEN):
        raise Refusal(codes.BAD_DESTINATION, f"{text!r} holds one of {' '.join(FORBIDDEN)}")
    return path


def _install(tree: int, top: int, path: str) -> Installed:
    listed = entries(tree)
    if not any(entry.path == LAUNCHER for entry in listed):
        raise Refusal(codes.NOT_A_RUNTIME, f"there is no {LAUNCHER} to copy")
    wanted = digest(tree, listed)
    recorded = recorded_digest(tree)
    if recorded not in (None, wanted):
        raise Refusal(codes.ALTERED, f"sha256:{wanted}, its build recorded sha256:{recorded}")
    _refuse_foreign(top, path)
    versions = _own_directory(top, VERSIONS)
    try:
        there = _is_whole(versions, wanted, recorded)
        if not there:
            _copy_version(tree, listed, wanted, versions)
        previous = _linked_version(top)
        _link(top, wanted)
        os.fsync(top)
        _forget(versions, {wanted, previous})
    finally:
        os.close(versions)
    files = sum(not entry.is_directory for entry in listed)
    return Installed(destination=path, digest=wanted, files=files, copied=not there)


def _copy_version(tree: int, listed: list[Entry], wanted: str, versions: int) -> None:
    """Copy beside the place, read back, flush, rename."""
    fresh = f".new-{os.getpid()}"
    _remove(versions, fresh)
    os.mkdir(fresh, 0o700, dir_fd=versions)
    with _opened(fresh, versions) as target:
        for entry in listed:
            _copy_entry(tree, target, entry)
        if digest(target, entries(target)) != wanted:
            raise Refusal(codes.DAMAGED, f"expected sha256:{wanted}")
        os.fchmod(target, DIRECTORY_MODE)
        # one flush of the volume: an fsync for each of 2000 files takes many seconds
        syncfs(target)
    _remove(versions, wanted)  # a damaged one
    os.rename(fresh, wanted, src_dir_fd=versions, dst_dir_fd=versions)
    os.fsync(versions)


def _copy_entry(tree: int, target: int, entry: Entry) -> None:
    """With the modes of the source whatever the umask is; owners are who we are."""
    if entry.is_directory:
        os.mkdir(entry.path, 0o700, dir_fd=target)
        with _opened(entry.path, target) as directory:
            os.fchmod(directory, entry.mode)
        return
    given = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(entry.path, flags, 0o600, dir_fd=target)
        try:
            while os.sendfile(made, given, None, 1 << 30):
                pass
            os.fchmod(made, entry.mode)
        finally:
            os.close(made)
    finally:
        os.close(given)


def _is_whole(versions: int, wanted: str, recorded: str | None) -> bool:
    try:
        with _opened(wanted, versions) as kept:
            return (digest(kept, entries(kept)), recorded_digest(kept)) == (wanted, recorded)
    except FileNotFoundError:
        return False
    except (StrangeTreeError, NotADirectoryError):
        return False  # damaged: made anew


def _link(top: int, wanted: str) -> None:
    fresh = f".{LAUNCHER}-{os.getpid()}"
    _unlink(top, fresh)
    os.symlink(f"{VERSIONS}/{wanted}/{LAUNCHER}", fresh, dir_fd=top)
    os.rename(fresh, LAUNCHER, src_dir_fd=top, dst_dir_fd=top)


def _linked_version(top: int) -> str:
    """The version that the link names, or an empty text."""
    try:
        words = os.readlink(LAUNCHER, dir_fd=top).split("/")
    except FileNotFoundError:
        return ""
    return words[1] if len(words) == 3 and words[0] == VERSIONS else ""


def _forget(versions: int, kept: set[str]) -> None:
    """Remove versions beyond the newest ones, and what an interrupted copy left."""
    with os.scandir(versions) as listing:
        aged = sorted((item.stat(follow_symlinks=False).st_mtime_ns, item.name) for item in listing)
    others = [name for _, name in aged if name not in kept]
    spare = max(KEPT_VERSIONS - len(kept - {""}), 0)
    for name in others[: len(others) - spare]:
        _remove(versions, name)


def _refuse_foreign(top: int, path: str) -> None:
    try:
        facts = os.stat(LAUNCHER, dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(facts.st_mode) or not _linked_version(top):
        raise Refusal(codes.OCCUPIED, f"{path}/{LAUNCHER} is no link of ours")


def _own_directory(top: int, name: str) -> int:
    """Open or make a directory that is ours or root's; a volume's top may be world-writable."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=top)
    try:
        directory = os.open(name, _OPEN_DIRECTORY, dir_fd=top)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refusal(codes.OCCUPIED, f"{name} is not a directory") from error
        raise
    owner = os.fstat(directory).st_uid
    if owner not in (0, os.geteuid()):
        os.close(directory)
        raise Refusal(codes.UNTRUSTED_DESTINATION, f"{name} belongs to uid {owner}")
    os.fchmod(directory, DIRECTORY_MODE)
    return directory


@contextmanager
def _destination(path: str) -> Iterator[int]:
    """Open the destination, made if only itself is missing; no link of a stranger is followed."""
    parent, name = os.path.split(path)
    try:
        _make(parent or "/", name)
        located = open_trusted(path, _own_groups())
    except UntrustedLinkError as error:
        raise Refusal(codes.UNTRUSTED_DESTINATION, f"{error.filename}: {error.strerror}") from error
    except FileNotFoundError as error:
        raise Refusal(codes.BAD_DESTINATION, f"{parent} does not exist") from error
    try:
        with _opened(f"/proc/self/fd/{located.descriptor}", follow=True) as top:
            yield top
    finally:
        os.close(located.descriptor)


def _make(parent: str, name: str) -> None:
    """Make the destination if it is missing, with a mode that no umask changes."""
    held = open_trusted(parent, _own_groups()).descriptor
    try:
        os.mkdir(name, 0o700, dir_fd=held)
        with _opened(name, held) as made:
            os.fchmod(made, DIRECTORY_MODE)
    except FileExistsError:
        return
    finally:
        os.close(held)


def _own_groups() -> frozenset[int]:
    return frozenset({os.getegid(), *os.getgroups()})


@contextmanager
def _opened(path: str, directory: int | None = None, *, follow: bool = False) -> Iterator[int]:
    flags = _OPEN_DIRECTORY & ~os.O_NOFOLLOW if follow else _OPEN_DIRECTORY
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(directory: int, name: str) -> None:
    try:
        shutil.rmtree(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        _unlink(directory, name)


def _unlink(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
