"""What ``/proc`` says about a process: proc_pid_status(5), proc_pid_stat(5).

Parsers are pure and bounded; reading is one ``read`` of at most PAGE bytes.
"""

import os
from typing import NamedTuple

PAGE = 64 * 1024  # a status with 65536 groups is longer: refused rather than half read
STAT = 4096  # a stat has 52 numbers and a name of at most 64 bytes


class Status(NamedTuple):
    """The fields of ``/proc/PID/status`` that decide what a process may do."""

    uids: tuple[int, ...]  # real, effective, saved, file system
    gids: tuple[int, ...]
    groups: tuple[int, ...]  # supplementary, sorted
    inheritable: int  # capability sets as bit masks
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool
    seccomp: int  # 0 off, 1 strict, 2 filter


def parse_status(text: str) -> Status:
    """Parse ``/proc/PID/status``; ValueError where a field is missing or malformed."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def numbers(name: str) -> tuple[int, ...]:
        return tuple(int(word) for word in fields[name].split())

    def mask(name: str) -> int:
        return int(fields[name], 16)

    try:
        return Status(
            uids=numbers("Uid"),
            gids=numbers("Gid"),
            groups=tuple(sorted(numbers("Groups"))),
            inheritable=mask("CapInh"),
            permitted=mask("CapPrm"),
            effective=mask("CapEff"),
            bounding=mask("CapBnd"),
            ambient=mask("CapAmb"),
            no_new_privs=numbers("NoNewPrivs") == (1,),
            seccomp=int(fields["Seccomp"]),
        )
    except KeyError as missing:
        raise ValueError(f"no field {missing} in status") from missing


def read_small(path: str) -> bytes:
    """Read a /proc or /sys file whole; ValueError when it is longer than PAGE."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        parts = []
        size = 0
        while block := os.read(descriptor, PAGE):
            parts.append(block)
            size += len(block)
            if size > PAGE:
                raise ValueError(f"{path} is longer than {PAGE} bytes")
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_status(pid: int | str = "self") -> Status:
    """Read and parse ``/proc/PID/status``."""
    return parse_status(read_small(f"/proc/{pid}/status").decode("ascii", "replace"))


def parse_stat(text: bytes) -> tuple[str, int]:
    """State letter and parent pid of ``/proc/PID/stat``; the comm may hold anything but NUL."""
    after = text[text.rindex(b")") + 2 :].split()
    return after[0].decode("ascii"), int(after[1])


def read_start_and_parent(pid: int) -> tuple[int, int]:
    """Start time (clock ticks after boot: with the pid, the process itself) and parent pid."""
    process = open_process(pid)
    try:
        return start_and_parent_of(process)
    finally:
        os.close(process)


def open_process(pid: int) -> int:
    """The directory of a process, to be closed. What is looked up in it is of that process or not
    there, also once another one has its number.
    """
    return os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def start_and_parent_of(process: int) -> tuple[int, int]:
    """As read_start_and_parent, of a process whose directory is open."""
    descriptor = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        text = os.read(descriptor, STAT)  # whole: what is made in one piece is read in one
    finally:
        os.close(descriptor)
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[19]), int(fields[1])


def has_memory(pid: int | str) -> bool:
    """False for a kernel thread, and for a process whose first thread has ended or is about to."""
    try:
        return not read_small(f"/proc/{pid}/statm").startswith(b"0 ")
    except OSError:
        return False


def parents() -> dict[int, int]:
    """pid -> parent pid of every live (not zombie) process that /proc shows."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isascii() or not name.isdigit():
            continue
        try:
            state, parent = parse_stat(read_small(f"/proc/{name}/stat"))
        except (OSError, ValueError):
            continue  # it ended between the listing and the reading
        if state not in "ZX":
            found[int(name)] = parent
    return found


def descendants(of: int, tree: dict[int, int]) -> list[int]:
    """Every process below ``of``, nearest first."""
    children: dict[int, list[int]] = {}
    for pid, parent in tree.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    wave = children.get(of, [])
    while wave:
        found += wave
        wave = [grandchild for child in wave for grandchild in children.get(child, [])]
    return found


def pids_of(uid: int) -> list[int]:
    """Live (not zombie) processes that /proc shows with this real uid, whoever started them."""
    found = []
    for pid in parents():
        try:
            if read_status(pid).uids[0] == uid:
                found.append(pid)
        except (OSError, ValueError):
            continue  # it ended between the listing and the reading
    return found
