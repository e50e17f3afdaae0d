"""The static half: filesystem_policy, landlock, process and supervisor, from records to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from policy import document_codes as codes
from policy.included import preset_name
from policy.model import (
    Extensions,
    Filesystem,
    Limits,
    PathEntry,
    Process,
    Require,
    Syscalls,
)
from policy.shape import Item, Record
from policy.values import inside

if TYPE_CHECKING:
    from policy.model import Compatibility, FenceForm

# Landlock rules are opened one by one; the reference's bound.
MAX_PATHS = 256
# Right to write below /proc is right to write other processes' memory and the kernel's settings.
_NEVER_WRITABLE = ("/proc",)


def filesystem(root: Record) -> Filesystem:
    """``filesystem_policy``; a policy without the section gives the work directory only."""
    record = root.get("filesystem_policy", Record)
    if record is None:
        return Filesystem(include_workdir=True, read_only=(), read_write=())
    read_only = _entries(record, "read_only")
    read_write = _entries(record, "read_write")
    if len(read_only) + len(read_write) > MAX_PATHS:
        message = f"{len(read_only) + len(read_write)} paths, at most {MAX_PATHS}"
        record.refuse(codes.OUT_OF_RANGE, "", message)
    for item in record.items("read_write"):
        _check_writable(record, item)
    _check_overlap(record)
    include = record.flag("include_workdir", default=False)
    return Filesystem(include_workdir=include, read_only=read_only, read_write=read_write)


def _entries(record: Record, name: str) -> tuple[PathEntry, ...]:
    """The sound paths of a list, each once, with their places."""
    found: dict[str, PathEntry] = {}
    for item in record.items(name):
        path = str(item.value)
        found.setdefault(path, PathEntry(path=path, origin=record.at(item.node)))
    return tuple(found.values())


def _check_writable(record: Record, item: Item) -> None:
    """Refuse the root, and what would give rights over other processes."""
    path = str(item.value)
    if path == "/":
        message = "the root may not be writable"
        record.report.add(codes.BAD_PATH, item.node, item.path, message)
    elif any(inside(path, closed) for closed in _NEVER_WRITABLE):
        message = f"{path} may not be writable: files below /proc write other processes' memory"
        record.report.add(codes.BAD_PATH, item.node, item.path, message, remedy="Remove it.")


def _check_overlap(record: Record) -> None:
    """Refuse a read-only path inside a read-write one: Landlock cannot take a right away again."""
    writable = {str(item.value) for item in record.items("read_write")} - {"/"}
    for item in record.items("read_only"):
        path = str(item.value)
        around = next((outer for outer in sorted(writable) if inside(path, outer)), None)
        if around is not None:
            message = f"{path} is read-only inside {around}, which is read-write"
            record.report.add(codes.PATH_OVERLAP, item.node, item.path, message)


def landlock(root: Record) -> Compatibility:
    """``landlock.compatibility``; unstated means hard_requirement, unlike in the reference."""
    record = root.get("landlock", Record)
    stated = None if record is None else record.get("compatibility", str)
    return "best_effort" if stated == "best_effort" else "hard_requirement"


def process(root: Record) -> Process:
    """``process``."""
    record = root.get("process", Record) or root
    return Process(
        run_as_user=record.get("run_as_user", str),
        run_as_group=record.get("run_as_group", str),
        origin=record.origin,
    )


def extensions(root: Record) -> Extensions:
    """``supervisor``."""
    record = root.get("supervisor", Record)
    if record is None:
        return Extensions()
    require = _require(record)
    accept = frozenset(record.many("accept", str))
    for control in sorted(require.controls & accept):
        message = f"{control!r} is required and its absence is accepted"
        record.refuse(codes.CONTRADICTION, "accept", message)
    ports = tuple(sorted(set(record.many("loopback", int))))
    return Extensions(
        require=require,
        accept=accept,
        limits=_limits(record),
        syscalls=_syscalls(record),
        loopback=ports if record.has("loopback") else None,
        presets=tuple(name for item in record.items("presets") if (name := preset_name(item))),
    )


def _require(record: Record) -> Require:
    stated = record.get("require", Record)
    if stated is None:
        return Require()
    return Require(
        fence=cast("FenceForm | None", stated.get("fence", str)),
        landlock_abi=stated.get("landlock_abi", int),
        controls=frozenset(stated.many("controls", str)),
    )


def _limits(record: Record) -> Limits:
    stated = record.get("limits", Record)
    if stated is None:
        return Limits()
    return Limits(
        nofile=stated.get("nofile", int),
        fsize=stated.get("fsize", int),
        nproc=stated.get("nproc", int),
    )


def _syscalls(record: Record) -> Syscalls:
    stated = record.get("syscalls", Record)
    if stated is None:
        return Syscalls()
    return Syscalls(
        nested_sandbox=stated.flag("nested_sandbox", default=False),
        debugger=stated.flag("debugger", default=False),
    )
