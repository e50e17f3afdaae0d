"""Open a path of the policy so that the workload cannot have decided where it leads.

Symlinks are followed only where nobody but root can have made them: the link is root's, and so is
every directory it stands in or leads through, none of them writable by the workload (``/lib`` on
images with a merged ``/usr``). The walk holds a descriptor for each step and never takes a name
twice, so that nothing can be exchanged under it.
"""

import errno
import os
import stat
from dataclasses import dataclass

# As the kernel's own bound for one path (path_resolution(7)).
MAX_LINKS = 40

# In place of the workload's groups where they are not known yet: any but root's may be one of them.
ANY_GROUP: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """An opened path: an O_PATH descriptor (the caller closes it), where it really is, by which links.

    ``links`` are (link, target as it is written) in the order they were followed.
    """

    descriptor: int
    path: str
    links: tuple[tuple[str, str], ...]


class UntrustedLinkError(OSError):
    """A symlink that the workload may have made; ``filename`` is the link."""


@dataclass(slots=True)
class _Walk:
    """Where a walk has come to: a descriptor and a name for each directory from the root on."""

    descriptors: list[int]
    names: list[str]
    pending: list[str]
    links: list[tuple[str, str]]

    def here(self, name: str = "") -> str:
        return "/" + "/".join([*self.names, name] if name else self.names)

    def climb(self, keep: int) -> None:
        """Go back to the ``keep`` lowest directories below the root."""
        while len(self.names) > keep:
            self.names.pop()
            os.close(self.descriptors.pop())


def open_trusted(path: str, groups: frozenset[int] | None, root: int | None = None) -> Located:
    """Open an absolute path; ``groups`` are the workload's, for whom group write counts (ANY_GROUP).

    ``root`` is where the path starts, if not at our own root: a descriptor of the root directory of
    another mount namespace shows that namespace's mounts.

    Raises UntrustedLinkError, or OSError as open(2) does: ENOENT, EACCES, ENOTDIR, ELOOP, ENAMETOOLONG.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    start = os.open("/", flags) if root is None else os.open(".", flags, dir_fd=root)
    walk = _Walk([start], [], _components(path), [])
    try:
        while walk.pending:
            _step(walk, groups)
        descriptor = walk.descriptors.pop()
    finally:
        for left in walk.descriptors:
            os.close(left)
    return Located(descriptor=descriptor, path=walk.here(), links=tuple(walk.links))


def _step(walk: _Walk, groups: frozenset[int] | None) -> None:
    """Take the next component: go up, go down, or put a link's target in its place."""
    name = walk.pending.pop(0)
    if name == "..":
        walk.climb(max(len(walk.names) - 1, 0))
        return
    where = walk.here(name)
    found = _openat(walk.descriptors[-1], name, where)
    status = os.fstat(found)
    parent_trusted = _only_roots(os.fstat(walk.descriptors[-1]), groups)
    if stat.S_ISLNK(status.st_mode):
        target = _readlink(found)
        if status.st_uid != 0 or not parent_trusted:
            raise UntrustedLinkError(
                errno.ELOOP, "not followed: others than root can exchange it", where
            )
        if len(walk.links) == MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), where)
        walk.links.append((where, target))
        walk.pending[:0] = _components(target)
        if target.startswith("/"):
            walk.climb(0)
        return
    walk.descriptors.append(found)
    walk.names.append(name)
    if walk.links and not parent_trusted:
        link = walk.links[-1][0]
        raise UntrustedLinkError(errno.ELOOP, f"not followed: {where} can be exchanged", link)


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _openat(directory: int, name: str, where: str) -> int:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        error.filename = where
        raise


def _readlink(link: int) -> str:
    try:
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def _only_roots(status: os.stat_result, groups: frozenset[int] | None) -> bool:
    """Whether nobody but root can change the directory's entries."""
    writers = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_in_group = status.st_gid != 0 if groups is None else status.st_gid in groups
    if writers == stat.S_IWGRP and not is_in_group:
        writers = 0
    return status.st_uid == 0 and not writers
