"""What was done: counted while it happens (Tally), handed on as frozen data (Report)."""

import enum
import time
from dataclasses import dataclass, field
from typing import Any

# Enough to recognise a pattern in a report that somebody reads; the count says how many there are.
NAMED_PATHS = 20

# A path in a report is for reading: the two ends of a 5000-deep one say enough.
SHOWN_CHARACTERS = 512


class Skip(enum.Enum):
    """Why an entry was left as it is."""

    HARD_LINK = "hard_link"  # another name of it may lie outside of the workspace
    OTHER_MOUNT = "other_mount"
    READ_ONLY = "read_only"
    CHANGED = "changed"  # vanished or became something else while we looked
    FILE_CAPABILITY = "file_capability"  # the workload's already; removing needs CAP_SETFCAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How often something happened, and the first places (at most NAMED_PATHS)."""

    count: int = 0
    paths: tuple[str, ...] = ()

    def plus(self, other: "Named") -> "Named":
        """Both together."""
        return Named(count=self.count + other.count, paths=(self.paths + other.paths)[:NAMED_PATHS])

    def as_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {"count": self.count, "paths": list(self.paths)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link in a policy path that was followed: its path, and where it led."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of preparing the workspace. Paths are escaped for printing (``shown``)."""

    entries: int
    changed: int
    created: tuple[str, ...]
    cleared: Named  # set-user-ID, set-group-ID or file capability taken away
    skipped: dict[Skip, Named]
    links: tuple[Link, ...]
    seconds: float
    deadline_s: float
    deadline_hit: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object for the containment report."""
        return {
            "entries": self.entries,
            "changed": self.changed,
            "created": list(self.created),
            "cleared": self.cleared.as_dict(),
            "skipped": {reason.value: named.as_dict() for reason, named in self.skipped.items()},
            "links": [{"path": link.path, "target": link.target} for link in self.links],
            "seconds": round(self.seconds, 3),
            "deadline_s": self.deadline_s,
            "deadline_hit": self.deadline_hit,
        }


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts while the work runs. ``entries`` are the ones looked at, directories included."""

    entries: int = 0
    changed: int = 0
    created: list[str] = field(default_factory=list)
    cleared: Named = Named()
    skipped: dict[Skip, Named] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def skip(self, reason: Skip, path: str) -> None:
        """Count an entry that was left alone."""
        one = Named(count=1, paths=(shown(path),))
        self.skipped[reason] = self.skipped.get(reason, Named()).plus(one)

    def clear(self, path: str) -> None:
        """Count an entry that lost a privilege bit or a file capability."""
        self.cleared = self.cleared.plus(Named(count=1, paths=(shown(path),)))

    def add(self, other: "Tally") -> None:
        """Add what a helper counted."""
        self.entries += other.entries
        self.changed += other.changed
        self.cleared = self.cleared.plus(other.cleared)
        for reason, named in other.skipped.items():
            self.skipped[reason] = self.skipped.get(reason, Named()).plus(named)

    def report(self, started: float, deadline_s: float) -> Report:
        """Freeze; ``started`` is a ``time.monotonic`` reading."""
        seconds = time.monotonic() - started
        return Report(
            entries=self.entries,
            changed=self.changed,
            created=tuple(self.created),
            cleared=self.cleared,
            skipped=dict(self.skipped),
            links=tuple(self.links),
            seconds=seconds,
            deadline_s=deadline_s,
            deadline_hit=seconds >= deadline_s,
        )


def below(path: str, name: str) -> str:
    """Return the name for people of an entry: one per level of a deep tree must stay short."""
    longest = SHOWN_CHARACTERS // 2
    return f"{path}/{name}" if len(path) <= longest else f"{path[:longest]}…/{name}"


def shown(path: str) -> str:
    """Return ``path`` on one line in printable characters, whatever bytes it holds.

    Bytes that are not UTF-8 appear as ``\\xNN``, a backslash as two: no two paths look alike.
    """
    line = "".join(map(_shown_character, path))
    if len(line) <= SHOWN_CHARACTERS:
        return line
    half = SHOWN_CHARACTERS // 2
    return f"{line[:half]}…{line[-half:]}"


def _shown_character(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # os.fsdecode's stand-in for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable() and character != "\\":
        return character
    return ascii(character)[1:-1]  # the codec "unicode_escape" would be imported, as whom?
