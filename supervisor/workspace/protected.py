"""Which paths are never given to a workload, and why. Pure."""

import os
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.workspace import codes

PATH_MAX = 4096  # include/uapi/linux/limits.h, terminating NUL included
NAME_MAX = 255


class Protected(NamedTuple):
    """One row: the path, whether all below it counts as well, and the reason people are told."""

    path: str
    whole_tree: bool
    why: str


TABLE = (
    Protected("/", False, "it is the root of the file system"),
    Protected("/bin", True, "programs are run from it"),
    Protected("/boot", True, "it starts the machine"),
    Protected("/dev", True, "it holds devices"),
    Protected("/etc", True, "it configures the system, accounts included"),
    Protected("/lib", True, "every program loads its libraries from it"),
    Protected("/lib32", True, "every program loads its libraries from it"),
    Protected("/lib64", True, "every program loads its libraries from it"),
    Protected("/libx32", True, "every program loads its libraries from it"),
    Protected("/proc", True, "it is the kernel's view of all processes"),
    Protected("/sbin", True, "programs are run from it"),
    Protected("/sys", True, "it is the kernel's configuration"),
    Protected("/usr", True, "programs and libraries live in it"),
    Protected("/run/secrets", True, "credentials are mounted in it"),
    Protected("/var/run/secrets", True, "credentials are mounted in it"),
    Protected("/home", False, "the homes of other users lie in it"),
    Protected("/media", False, "other file systems are mounted in it"),
    Protected("/mnt", False, "other file systems are mounted in it"),
    Protected("/opt", False, "other programs live in it"),
    Protected("/root", False, "it is root's home"),
    Protected("/run", False, "sockets and locks of services live in it"),
    Protected("/srv", False, "the data of services lies in it"),
    Protected("/tmp", False, "everybody shares it"),  # noqa: S108 - named to be refused
    Protected("/var", False, "the state of services lies in it"),
    Protected("/var/tmp", False, "everybody shares it"),  # noqa: S108 - named to be refused
)

# Shared by design, world-writable with the sticky bit: a policy may well let a workload write
# there, because nothing there is created or changes its owner.
SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - see above


def canonical(path: str) -> str:
    """Return ``path`` without a trailing slash. Refuses whatever is not absolute and normal."""
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError as error:  # a lone surrogate out of a YAML escape
        raise Refusal(codes.NOT_CANONICAL, f"{path!r} is no file name") from error
    if not path.startswith("/") or "\0" in path:
        raise Refusal(codes.NOT_CANONICAL, f"{path!r} is not an absolute path")
    if length >= PATH_MAX:
        raise Refusal(codes.NOT_CANONICAL, f"{path[:64]!r}… is longer than {PATH_MAX - 1} bytes")
    if path == "/":
        return path
    trimmed = path.removesuffix("/")
    names = trimmed[1:].split("/")
    if any(name in ("", ".", "..") for name in names):
        raise Refusal(codes.NOT_CANONICAL, f"{path!r} holds '.', '..' or a doubled slash")
    if any(len(os.fsencode(name)) > NAME_MAX for name in names):
        raise Refusal(codes.NOT_CANONICAL, f"{path[:64]!r}… has a name over {NAME_MAX} bytes")
    return trimmed


def refuse_as_workspace(path: str, supervisor_tree: str) -> None:
    """Refuse a canonical ``path`` that must not become the workload's own directory."""
    _refuse_supervisor_tree(path, supervisor_tree)
    for row in TABLE:
        if path == row.path or (row.whole_tree and is_below(path, row.path)):
            raise Refusal(codes.PROTECTED, f"{path} cannot be a workspace: {row.why} ({row.path})")


def refuse_as_writable(path: str, supervisor_tree: str) -> None:
    """Refuse a canonical policy path that no policy should make writable as a whole.

    What exists below a protected tree stays possible (``/dev/null``): nothing there is created
    and no owner changes, so the file's own permissions still decide.
    """
    _refuse_supervisor_tree(path, supervisor_tree)
    for row in TABLE:
        if path == row.path and path not in SHARED:
            raise Refusal(codes.PROTECTED, f"{path} cannot be read-write: {row.why}")


def may_create(path: str) -> bool:
    """Tell whether a missing canonical ``path`` may be created at all."""
    return not any(row.whole_tree and is_below(path, row.path) for row in TABLE)


def is_below(path: str, tree: str) -> bool:
    """Tell whether canonical ``path`` lies strictly below canonical ``tree``."""
    return path.startswith(tree.rstrip("/") + "/") and path != tree


def _refuse_supervisor_tree(path: str, tree: str) -> None:
    if path == tree or is_below(path, tree) or (path != "/" and is_below(tree, path)):
        raise Refusal(codes.PROTECTED, f"{path} holds or lies in the supervisor's tree {tree}")
