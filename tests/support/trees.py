"""A file system of a test's own, to be called inside ``in_child(…, unshare=CLONE_NEWNS)``."""

import os
from pathlib import Path

from supervisor.kernel.libc import check, libc

MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
RENAME_EXCHANGE = 2

# Root's, 0755 and in every system: everybody may pass, so only the tree made there counts.
SCRATCH = Path("/srv")


def mount(source, target, fstype, flags=0, data=""):
    words = (os.fsencode(source), os.fsencode(target), fstype.encode())
    check(libc.mount(*words, flags, data.encode()), "mount", os.fsencode(target))


def scratch(data="mode=0755"):
    """Mount an empty tmpfs of this mount namespace's own and return its path."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", SCRATCH, "tmpfs", 0, data)
    return SCRATCH


def bind(source, target, *, read_only=False):
    mount(source, target, "", MS_BIND)
    if read_only:
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def exchange(one, other):
    """Swap two names in one step, as an attacker would."""
    names = (os.fsencode(one), os.fsencode(other))
    check(libc.renameat2(-100, names[0], -100, names[1], RENAME_EXCHANGE), "renameat2", names[0])


def owner(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid


def owners(root):
    """All owners below ``root``, itself included, links not followed."""
    found = {owner(root)}
    for directory, names, files in os.walk(root):
        found |= {owner(os.path.join(directory, name)) for name in [*names, *files]}
    return found
