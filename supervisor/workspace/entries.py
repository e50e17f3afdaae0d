"""Hand the entries of one directory, then the directory, to the identity.

A volume may be shared with something hostile that runs right now, so between looking at an entry
and changing its owner the name may come to mean another inode. Two ways keep that harmless:

by name   where nobody but root can change the directory (root's, no write bit for others), a name
          cannot be swapped: one ``fstatat``, one ``fchownat``, as fast as a safe way gets. An
          image's own tree is like that. A third party's directory (an earlier identity's volume)
          becomes like that by giving it to root first; the kernel orders that against renames.
by inode  everywhere else (already the identity's, or writable by a group or by all): hold the
          inode (O_PATH | O_NOFOLLOW), look at it, change what is held.

The directory itself is handed over after its entries, because from then on its new owner can
rename in it. What matters about an inode before it changes hands:

* one name only. With several, another may lie outside of the workspace, and it would be a foreign
  file that changes hands: left and reported.
* on this mount. An entry whose device and inode number are those that the directory itself lists
  cannot be a mount point. Where they differ (a mount point, but also overlayfs over several file
  systems) ``openat2`` with RESOLVE_NO_XDEV decides.
* no privilege. The kernel clears set-user-ID and file capabilities when the owner changes; what
  the workload owned before is looked at for both.
"""

import errno
import os
import stat

from supervisor.kernel.fchownat import fchownat
from supervisor.kernel.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from supervisor.workspace.ownership import HOLD, belongs_to, chown_refusal, only_root_writes
from supervisor.workspace.plan import TakeOver
from supervisor.workspace.report import Skip, Tally, below
from supervisor.workspace.watch import Watch

ROOT = 0

PRIVILEGE_BITS = stat.S_ISUID | stat.S_ISGID
EXECUTE_BITS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
FILE_CAPABILITY = "security.capability"

# The clock is read once per so many entries: often enough for a deadline in seconds (an entry
# takes microseconds), too seldom to be seen in a profile.
ENTRIES_PER_LOOK = 512


class Entries:
    """The entries of one open directory, on their way to the identity."""

    def __init__(self, fd: int, path: str, step: TakeOver, tally: Tally) -> None:
        """``fd`` is the directory, open for reading; ``path`` its name for people."""
        self.fd = fd
        self.path = path
        self.owner = step.owner
        self.uid = step.owner.uid
        self.gid = step.owner.gid
        self.may_chown = step.may_chown
        self.tally = tally
        self.status = os.fstat(fd)
        self.names_are_stable = False

    def hand_over(self, watch: Watch) -> list[str]:
        """Hand over all but directories, then this directory; return its directories' names.

        Raises Refusal for a change of owner that failed, OSError for what is unexpected.
        """
        self._steady_names()
        # In a directory that others can write and that is not the identity's, most entries change
        # hands: each is held at once, looking at it by name first would cost a call for nothing.
        look_first = self.names_are_stable or belongs_to(self.status, self.owner)
        directories = []
        seen = 0
        with os.scandir(self.fd) as listing:
            for entry in listing:
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                elif not look_first or not self._settle_by_name(entry):
                    self._settle_by_inode(entry)
                if seen % ENTRIES_PER_LOOK == 0:
                    watch.look(self.path, self.tally.entries + seen)
        self.tally.entries += seen - len(directories) + 1
        self._hand_over_directory()
        return directories

    def _steady_names(self) -> None:
        """Find out whether names can be relied on; take a third party's directory from it."""
        writable_by_others = self.status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if self.status.st_uid not in (ROOT, self.uid) and not writable_by_others:
            try:
                os.fchown(self.fd, ROOT, -1)
            except OSError as error:
                raise chown_refusal(error, self.path, may_chown=self.may_chown) from error
            self.status = os.fstat(self.fd)
        self.names_are_stable = only_root_writes(self.status)

    def _settle_by_name(self, entry: os.DirEntry[str]) -> bool:
        """Do what can safely be done by name; False if the inode has to be held for more."""
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        uid, gid = self.uid, self.gid  # belongs_to() written out: this runs for every file
        if status.st_uid == uid and status.st_gid == gid:
            return not self._may_carry_privilege(entry.name, status)
        if (
            not self.names_are_stable
            or status.st_nlink != 1
            or status.st_mode & PRIVILEGE_BITS
            or not self._is_listed_here(entry, status)
        ):
            return False
        try:
            os.chown(entry.name, uid, gid, dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            self._chown_failed(error, entry.name)
        else:
            self.tally.changed += 1
        return True

    def _settle_by_inode(self, entry: os.DirEntry[str]) -> None:
        """Hold what the name stands for now, then judge and change that."""
        try:
            inode = self._hold(entry)
        except OSError as error:
            match error.errno:
                case errno.ENOENT:
                    self._skip(Skip.CHANGED, entry.name)
                case errno.EXDEV:
                    self._skip(Skip.OTHER_MOUNT, entry.name)
                case _:
                    raise
            return
        try:
            self._settle_held(inode, entry.name)
        finally:
            os.close(inode)

    def _hold(self, entry: os.DirEntry[str]) -> int:
        """Take hold of an entry of this mount; EXDEV if another mount covers it."""
        inode = os.open(entry.name, HOLD, dir_fd=self.fd)
        if self._is_listed_here(entry, os.fstat(inode)):
            return inode
        os.close(inode)
        return openat2(self.fd, entry.name, HOLD, resolve=RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)

    def _settle_held(self, inode: int, name: str) -> None:
        status = os.fstat(inode)
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 0:
            self._skip(Skip.CHANGED, name)
        elif belongs_to(status, self.owner):
            self._strip_privilege(inode, name, status)
        elif status.st_nlink > 1:
            self._skip(Skip.HARD_LINK, name)
        else:
            try:
                fchownat(inode, self.uid, self.gid)
            except OSError as error:
                self._chown_failed(error, name)
                return
            self.tally.changed += 1
            if stat.S_ISREG(status.st_mode) and status.st_mode & PRIVILEGE_BITS:
                self.tally.clear(self._path_of(name))
                self._clear_bits(inode)

    def _hand_over_directory(self) -> None:
        if belongs_to(self.status, self.owner):
            return
        try:
            os.fchown(self.fd, self.uid, self.gid)
        except OSError as error:
            self._chown_failed(error, "")
        else:
            self.tally.changed += 1

    def _is_listed_here(self, entry: os.DirEntry[str], status: os.stat_result) -> bool:
        """Tell whether a status is that of the very inode that this directory lists."""
        return status.st_ino == entry.inode() and status.st_dev == self.status.st_dev

    def _may_carry_privilege(self, name: str, status: os.stat_result) -> bool:
        """Tell whether the identity's own file has privilege bits or a file capability.

        Only executable files are asked for a capability: that costs a call, and whoever makes the
        others executable later does so under no_new_privs, where a capability gives nothing.
        """
        mode = status.st_mode
        if not stat.S_ISREG(mode) or not mode & (PRIVILEGE_BITS | EXECUTE_BITS):
            return False
        return bool(mode & PRIVILEGE_BITS) or _has_capability(f"/proc/self/fd/{self.fd}/{name}")

    def _strip_privilege(self, inode: int, name: str, status: os.stat_result) -> None:
        """Take privilege bits and file capability from what already is the identity's."""
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_mode & PRIVILEGE_BITS:
            self._clear_bits(inode)
            self.tally.clear(self._path_of(name))
        held = f"/proc/self/fd/{inode}"
        if status.st_mode & EXECUTE_BITS and _has_capability(held):
            try:
                os.removexattr(held, FILE_CAPABILITY)
            except PermissionError:
                self._skip(Skip.FILE_CAPABILITY, name)
            else:
                self.tally.clear(self._path_of(name))

    def _clear_bits(self, inode: int) -> None:
        """Clear what is left of the privilege bits: chown spares set-group-ID without g+x."""
        mode = stat.S_IMODE(os.fstat(inode).st_mode)
        if mode & PRIVILEGE_BITS:
            os.chmod(f"/proc/self/fd/{inode}", mode & ~PRIVILEGE_BITS)

    def _chown_failed(self, error: OSError, name: str) -> None:
        """Pass over a name that vanished and a file system that turned read-only; else refuse."""
        match error.errno:
            case errno.ENOENT:
                self._skip(Skip.CHANGED, name)
            case errno.EROFS:
                self._skip(Skip.READ_ONLY, name)
            case _:
                path = self._path_of(name)
                raise chown_refusal(error, path, may_chown=self.may_chown) from error

    def _skip(self, reason: Skip, name: str) -> None:
        self.tally.skip(reason, self._path_of(name))

    def _path_of(self, name: str) -> str:
        return below(self.path, name) if name else self.path


def _has_capability(path: str) -> bool:
    """Tell whether the file at ``path`` (below /proc/self/fd) has a file capability."""
    try:
        os.getxattr(path, FILE_CAPABILITY)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOENT):
            return False
        raise
    return True
