"""Landlock: what a process may still do with files, abstract sockets and signals.

The three system calls, and which right came with which ABI version. A newer kernel than we know is
used as far as we know it: rights that came later are not handled, so it denies nothing more.
TCP ports are left alone: behind a fence they judge the port that a program dials, not where the
fence sends it, and a domain in force can never be widened for a live policy.

Source: kernel ``Documentation/userspace-api/landlock.rst``, ``include/uapi/linux/landlock.h``.
"""

import os
import stat
import struct
from typing import NamedTuple

from supervisor.kernel.libc import SyscallError, raw_syscall

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_QUERY_VERSION, _QUERY_ERRATA = 1, 2  # LANDLOCK_CREATE_RULESET_*
_RULE_PATH_BENEATH = 1

KNOWN_ABI = 7  # Linux 6.15. Later: 8 adds thread synchronisation, 9 and on more rights.

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

# What a rule on something else than a directory may hold; the kernel refuses the others (EINVAL).
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

# LANDLOCK_SCOPE_*: connect to abstract sockets and signal processes of the same domain only
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
SCOPE_SIGNAL = 1 << 1

# LANDLOCK_RESTRICT_SELF_LOG_*: report denials of programs executed later; not those of domains
# that the workload nests to flood the log.
LOG_NEW_EXEC_ON = 1 << 1
LOG_SUBDOMAINS_OFF = 1 << 2
_ABI_OF_LOG_FLAGS = 7


class Right(NamedTuple):
    """A right or scope, by name, its bit, and the ABI version that brought it."""

    name: str
    bit: int
    abi: int


FILESYSTEM = (
    Right("execute", EXECUTE, 1),
    Right("write_file", WRITE_FILE, 1),
    Right("read_file", READ_FILE, 1),
    Right("read_dir", READ_DIR, 1),
    Right("remove_dir", REMOVE_DIR, 1),
    Right("remove_file", REMOVE_FILE, 1),
    Right("make_char", MAKE_CHAR, 1),
    Right("make_dir", MAKE_DIR, 1),
    Right("make_reg", MAKE_REG, 1),
    Right("make_sock", MAKE_SOCK, 1),
    Right("make_fifo", MAKE_FIFO, 1),
    Right("make_block", MAKE_BLOCK, 1),
    Right("make_sym", MAKE_SYM, 1),
    Right("refer", REFER, 2),
    Right("truncate", TRUNCATE, 3),
    Right("ioctl_dev", IOCTL_DEV, 5),
)
SCOPES = (
    Right("abstract_unix_socket", SCOPE_ABSTRACT_UNIX_SOCKET, 6),
    Right("signal", SCOPE_SIGNAL, 6),
)


def landlock_create_ruleset(attributes: bytes | None, size: int, flags: int) -> int:
    """Call landlock_create_ruleset(2): a ruleset's descriptor, or what ``flags`` ask for."""
    return raw_syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, size, flags)


def landlock_add_rule(ruleset: int, kind: int, attributes: bytes) -> None:
    """Call landlock_add_rule(2); raises SyscallError."""
    raw_syscall("landlock_add_rule", _ADD_RULE, ruleset, kind, attributes, 0)


def landlock_restrict_self(ruleset: int, flags: int) -> None:
    """Call landlock_restrict_self(2) on the calling thread; raises SyscallError."""
    raw_syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, flags)


def abi() -> int:
    """Return the kernel's ABI version, 0 where there is no Landlock.

    Not built in (ENOSYS), not enabled at boot (EOPNOTSUPP), or blocked by a container engine's
    filter (EPERM) all mean 0; ``why_unavailable`` tells which.
    """
    try:
        return landlock_create_ruleset(None, 0, _QUERY_VERSION)
    except SyscallError:
        return 0


def why_unavailable() -> str:
    """Return the reason in words, or an empty text where Landlock works."""
    try:
        landlock_create_ruleset(None, 0, _QUERY_VERSION)
    except SyscallError as error:
        return f"landlock_create_ruleset: {error.strerror}"
    return ""


def errata() -> int:
    """Return the bit mask of errata that the kernel has fixed (Linux 6.15); 0 where unknown."""
    try:
        return landlock_create_ruleset(None, 0, _QUERY_ERRATA)
    except SyscallError:
        return 0


def bits(rights: tuple[Right, ...], version: int) -> int:
    """Return the rights that ABI ``version`` has, as a mask."""
    return sum(right.bit for right in rights if right.abi <= version)


class Ruleset(NamedTuple):
    """A ruleset: its descriptor (the caller closes it), and what it handles and scopes.

    It holds on to the files that rules name, so one ruleset confines every later session to the
    same files, whatever their paths have become.
    """

    descriptor: int
    version: int
    handled: int
    scoped: int

    def allow(self, path: int, rights: int) -> int:
        """Allow ``rights`` on the file or beneath the directory behind the descriptor ``path``.

        Returns the rights granted: those of ``rights`` that the ABI has, and only the ones for
        files where it is not a directory. Raises SyscallError.
        """
        granted = rights & self.handled
        if not stat.S_ISDIR(os.fstat(path).st_mode):
            granted &= FILE_RIGHTS
        if granted:
            attributes = struct.pack("=Qi", granted, path)  # struct landlock_path_beneath_attr
            landlock_add_rule(self.descriptor, _RULE_PATH_BENEATH, attributes)
        return granted


def create(version: int) -> Ruleset:
    """Create a ruleset that handles every right and scope that ABI ``version`` has and we know.

    The descriptor is close-on-exec. Raises SyscallError.
    """
    handled, scoped = bits(FILESYSTEM, version), bits(SCOPES, version)
    # struct landlock_ruleset_attr: files, TCP ports, scopes. A kernel that does not know a field
    # takes it if it is zero.
    attributes = struct.pack("=QQQ", handled, 0, scoped)
    descriptor = landlock_create_ruleset(attributes, len(attributes), 0)
    return Ruleset(descriptor, min(version, KNOWN_ABI), handled, scoped)


def restrict_self(descriptor: int) -> None:
    """Confine the calling thread to the ruleset, for good. Needs no_new_privs, else EPERM.

    Only the calling thread: apply it in a single-threaded child before it executes anything.
    Raises SyscallError; E2BIG after 16 nested domains.
    """
    flags = LOG_NEW_EXEC_ON | LOG_SUBDOMAINS_OFF if abi() >= _ABI_OF_LOG_FLAGS else 0
    landlock_restrict_self(descriptor, flags)


def names(rights: tuple[Right, ...], mask: int) -> tuple[str, ...]:
    """Return the names of the rights in ``mask``, for reports."""
    return tuple(right.name for right in rights if right.bit & mask)
