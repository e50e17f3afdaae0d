"""Reach a directory component by component, create what is missing, follow no untrusted link.

Every component is taken hold of by name in its parent's descriptor (O_PATH | O_NOFOLLOW) and then
judged and changed through the descriptor: whoever swaps a name afterwards changes nothing for us.
"""

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass

from supervisor.errors import Refusal
from supervisor.kernel.fchownat import fchownat
from supervisor.kernel.openat2 import RESOLVE_NO_SYMLINKS, openat2
from supervisor.workspace import codes
from supervisor.workspace.ownership import (
    HOLD,
    LIST,
    belongs_to,
    chown_refusal,
    may_traverse,
    only_root_writes,
    system_refusal,
)
from supervisor.workspace.plan import EnsureDirectory, Existing
from supervisor.workspace.protected import may_create, refuse_as_writable
from supervisor.workspace.report import Link, Tally, shown

# Debian's /var/run and /lib need one; a chain of more is somebody's game. The kernel stops at 40.
LINKS_FOLLOWED = 8

AT_FDCWD = -100  # include/uapi/linux/fcntl.h; the path is absolute

CREATED_MODE = 0o755
OWNER_WX = stat.S_IWUSR | stat.S_IXUSR


@dataclass(frozen=True, slots=True)
class _LinkEnd:
    """Marks, between the names still to go, where a followed link's target is complete."""

    link: Link


def ensure(step: EnsureDirectory, tally: Tally) -> None:
    """Do one EnsureDirectory step and count it. Raises Refusal; OSError is turned into one."""
    walk = _Ensure(step, tally)
    try:
        walk.run()
    except OSError as error:
        raise system_refusal(error, walk.path) from error
    finally:
        os.close(walk.held)


class _Ensure:
    """Where one step has got to: ``held`` is the inode reached, ``path`` its name so far."""

    def __init__(self, step: EnsureDirectory, tally: Tally) -> None:
        self.step = step
        self.tally = tally
        self.path = "/"
        self.held = os.open("/", HOLD)
        self.inside = os.fstat(self.held)  # the directory that holds what ``held`` is
        self.todo: deque[str | _LinkEnd] = deque(step.path[1:].split("/"))
        self.links = 0
        self.created = False

    def run(self) -> None:
        """Walk all components, then see to the last one."""
        while self.todo:
            match self.todo.popleft():
                case _LinkEnd(link):
                    self._judge_target(link)
                case name:
                    self._enter(name)
        if self.links:
            self._judge_real_path()
        self.tally.entries += 1
        if self.step.existing is Existing.OWN and not self.created:
            self._own()

    def _hold(self, fd: int) -> None:
        os.close(self.held)
        self.held = fd

    def _enter(self, name: str) -> None:
        """Move from a directory to one of its entries, creating it if need be."""
        self.inside = self._directory_status()
        try:
            fd = os.open(name, HOLD, dir_fd=self.held)
        except FileNotFoundError:
            self._create(name)
            return
        except PermissionError as error:
            cause = f"{shown(self.path)} cannot be searched by the supervisor"
            raise Refusal(codes.UNREADABLE, cause) from error
        path = os.path.join(self.path, name)
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            self._follow(fd, path)
            return
        self._hold(fd)
        self.path = path
        self.created = False

    def _directory_status(self) -> os.stat_result:
        """Status of the held directory, which something is to be looked up in."""
        status = os.fstat(self.held)
        if not stat.S_ISDIR(status.st_mode):
            raise Refusal(codes.NOT_A_DIRECTORY, f"{shown(self.path)} is not a directory")
        is_workspace = self.step.existing is Existing.OWN
        if is_workspace and not may_traverse(status, self.step.owner):
            mode = f"{status.st_uid}:{status.st_gid} with mode {stat.S_IMODE(status.st_mode):04o}"
            cause = f"{self.step.owner.uid} may not pass through {shown(self.path)} ({mode})"
            raise Refusal(codes.NOT_TRAVERSABLE, cause)
        return status

    def _follow(self, link_fd: int, path: str) -> None:
        """Continue at a link's target, or refuse. Only root may be able to re-point the link."""
        try:
            target = os.readlink("", dir_fd=link_fd)
            root_owned = os.fstat(link_fd).st_uid == 0
        finally:
            os.close(link_fd)
        self.links += 1
        if self.step.existing is Existing.OWN:
            raise Refusal(codes.SYMLINK, f"{shown(path)} is a link to {shown(target)}")
        if not root_owned or not only_root_writes(self.inside):
            raise Refusal(codes.SYMLINK, f"{shown(path)}: others than root can re-point this link")
        if self.links > LINKS_FOLLOWED:
            raise Refusal(codes.SYMLINK, f"{shown(path)}: over {LINKS_FOLLOWED} links on the way")
        if target.startswith("/"):
            self._hold(os.open("/", HOLD))
            self.path = "/"
        names = [name for name in target.split("/") if name not in ("", ".")]
        link = Link(path=shown(path), target=shown(target))
        self.todo.extendleft(reversed([*names, _LinkEnd(link)]))

    def _judge_target(self, link: Link) -> None:
        """Check what a link led to: root's, and writable by nobody else."""
        status = os.fstat(self.held)
        is_found_directory = stat.S_ISDIR(status.st_mode) and not self.created
        judged = status if is_found_directory else self.inside
        if not only_root_writes(judged):
            cause = f"{link.path} leads to {link.target}, where others than root can write"
            raise Refusal(codes.SYMLINK, cause)
        self.tally.links.append(link)

    def _judge_real_path(self) -> None:
        """A link must not lead where the policy could not have named the place itself."""
        real = os.readlink(f"/proc/self/fd/{self.held}")
        refuse_as_writable(real, self.step.supervisor_tree)

    def _create(self, name: str) -> None:
        """Make a missing component: root's own on the way, the identity's at the end."""
        path = os.path.join(self.path, name)
        is_last = not any(isinstance(left, str) for left in self.todo)
        self._refuse_creation(path)
        try:
            os.mkdir(name, CREATED_MODE, dir_fd=self.held)
        except OSError as error:
            code = codes.CANNOT_CREATE
            raise Refusal(code, f"{shown(path)}: {error.strerror}") from error
        fd = os.open(name, LIST, dir_fd=self.held)
        self._hold(fd)
        self.path = path
        self.created = True
        self._refuse_swapped()
        os.fchmod(fd, CREATED_MODE)  # the umask took its part from mkdir's mode
        if is_last:
            self._chown()
        self.tally.created.append(shown(path))

    def _refuse_creation(self, path: str) -> None:
        owner = self.step.owner
        in_real_tree = os.path.join(os.readlink(f"/proc/self/fd/{self.held}"), "new")
        if not self.step.may_create or not may_create(in_real_tree):
            cause = f"{shown(path)} is missing, and nothing is created in a system directory"
            raise Refusal(codes.CANNOT_CREATE, cause)
        is_owner = (os.geteuid(), os.getegid()) == (owner.uid, owner.gid)
        if not self.step.may_chown and not is_owner:
            cause = f"{shown(path)} would have to be created and given to {owner.uid}:{owner.gid}"
            raise Refusal(codes.CHOWN_CAPABILITY, cause)

    def _refuse_swapped(self) -> None:
        """What we opened must be what we made: ours and empty. The parent may be another's."""
        with os.scandir(self.held) as entries:
            is_empty = next(entries, None) is None
        if not is_empty or os.fstat(self.held).st_uid != os.geteuid():
            cause = f"{shown(self.path)} was replaced right after it was created"
            raise Refusal(codes.CHANGED_UNDERFOOT, cause)

    def _own(self) -> None:
        """Make an existing workspace directory the identity's, with write and search for it."""
        status = os.fstat(self.held)
        if not stat.S_ISDIR(status.st_mode):
            raise Refusal(codes.NOT_A_DIRECTORY, f"{shown(self.path)} is not a directory")
        if not belongs_to(status, self.step.owner):
            self._chown()
            self.tally.changed += 1
        if status.st_mode & OWNER_WX != OWNER_WX:
            self._add_owner_wx(status)

    def _chown(self) -> None:
        owner = self.step.owner
        if belongs_to(os.fstat(self.held), owner):
            return
        try:
            fchownat(self.held, owner.uid, owner.gid)
        except OSError as error:
            raise chown_refusal(error, self.path, may_chown=self.step.may_chown) from error

    def _add_owner_wx(self, status: os.stat_result) -> None:
        """chmod through /proc: it is the one way that takes an O_PATH descriptor everywhere."""
        try:
            os.chmod(f"/proc/self/fd/{self.held}", stat.S_IMODE(status.st_mode) | OWNER_WX)
        except OSError as error:
            cause = f"{shown(self.path)} lacks write and search for its owner: {error.strerror}"
            raise Refusal(codes.MODE_REFUSED, cause) from error
        self.tally.changed += 1


def open_without_links(path: str) -> int | None:
    """Open a canonical directory for listing, no link on the way; None if it is missing.

    Raises Refusal for a link or something that is no directory. The caller closes.
    """
    try:
        # Without O_NOFOLLOW a link at the end is ELOOP as well; with it, it would be ENOTDIR.
        return openat2(AT_FDCWD, path, LIST & ~os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS)
    except OSError as error:
        match error.errno:
            case errno.ENOENT:
                return None
            case errno.ELOOP:
                raise Refusal(codes.SYMLINK, f"{shown(path)} or a parent is a link") from error
            case errno.ENOTDIR:
                raise Refusal(codes.NOT_A_DIRECTORY, f"{shown(path)}") from error
            case errno.EACCES:
                raise Refusal(codes.UNREADABLE, f"{shown(path)} cannot be read") from error
            case _:
                raise
