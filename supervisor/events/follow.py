"""What a reader of events is sent, and how both ends cut the stream into frames. Sans-io.

Newline-delimited JSON on the monitor's control socket. The reader asks once:

    {"ask": "events", "denied": false, "follow": true}

and gets one object on each line:

    {"event": {...}}                        a record
    {"end": {"forgotten": 0}}               all that is kept was sent (without follow)
    {"cut": {"missed": 7, "cause": "..."}}  it read too slowly; the monitor closes

The ring is the only buffer: of a reader's own there is one frame.
"""

from typing import Any

from supervisor.events.frames import MAX_RECORD
from supervisor.events.ring import EventRing

# A request has a handful of words.
MAX_REQUEST = 4096
# {"event":…} around the longest record.
MAX_ANSWER = MAX_RECORD + 64
CUT_CAUSE = "records arrived faster than they were read"


class FrameTooLong(ValueError):  # noqa: N818 - says what it is
    """The peer's line has no end within the bound."""


class LineReader:
    """Cuts a byte stream into lines of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their ends. Raises FrameTooLong."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > self._limit for line in (*lines, self._rest)):
            raise FrameTooLong(f"a line of more than {self._limit} bytes")
        return lines


class Follower:
    """One reader of the ring: ask for ``pending``, send what fits, say how much was ``sent``."""

    def __init__(self, ring: EventRing, *, only_denied: bool, follow: bool) -> None:
        self._ring = ring
        self._cursor = ring.oldest(only_denied=only_denied)
        self._follow = follow
        self._rest = b""
        self._is_last = False
        self._is_cut = False

    @property
    def is_over(self) -> bool:
        """Everything was sent: close."""
        return self._is_last and not self._rest

    @property
    def is_cut(self) -> bool:
        """The reader is too slow. It may not read the notice either: close within a second."""
        return self._is_cut

    def pending(self) -> bytes:
        """What is to be sent now; nothing when the reader has all there is."""
        if not self._rest and not self._is_last:
            self._rest = self._next()
        return self._rest

    def sent(self, count: int) -> None:
        """The first ``count`` bytes of ``pending`` are gone."""
        self._rest = self._rest[count:]

    def _next(self) -> bytes:
        missed = self._ring.missed(self._cursor)
        if missed:
            self._is_last = self._is_cut = True
            return b'{"cut":{"missed":%d,"cause":"%s"}}\n' % (missed, CUT_CAUSE.encode())
        frame = self._ring.next(self._cursor)
        if frame is not None:
            return b'{"event":' + frame.record + b"}\n"
        if self._follow:
            return b""
        self._is_last = True
        return b'{"end":{"forgotten":%d}}\n' % self._ring.forgotten


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object on a line, from either end. Raises ValueError for anything else."""
    import json

    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for every bad line
    return found
