"""``events`` and ``status`` for whoever enters the container: records as egress sent them.

An abstract unix socket beside the one for reports, under the same rule who may ask. The monitor
keeps the last records in a ring and passes them on byte for byte; it parses nothing but the one
line of a request, which comes from outside of the sandbox.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.events.follow import (
    MAX_REQUEST,
    Follower,
    FrameTooLong,
    LineReader,
    parse_object,
)
from supervisor.events.frames import Frame, FrameError, decode
from supervisor.events.ring import EventRing
from supervisor.events.status import Status
from supervisor.events.stream import Emitted
from supervisor.events.text import as_json
from supervisor.monitor.control_client import default_address
from supervisor.monitor.loop import Loop

READERS = 8  # people who look at once; one more is turned away
RETRY_S = 0.05  # for a reader whose socket is full
PATIENCE_S = 10.0  # a reader that takes nothing for this long is cut
FRAMES_PER_TURN = 256  # to one reader, before the loop looks at anything else
RECEIVE_BYTES = 4096
# More than a stream can drop in a year: what jumps further is none of ours.
LARGEST_GAP = 1 << 32


class Source:
    """One helper's records as they arrive, over all its lives; gaps in its numbers are counted."""

    def __init__(self, keep: Callable[[Frame], None]) -> None:
        self.last = 0
        self.dropped = 0
        self._keep = keep

    def take(self, packet: bytes) -> None:
        """Keep a record and pass it on. Raises FrameError for what is none."""
        frame = decode(packet)
        gap = frame.sequence - self.last - 1
        if not 0 <= gap < LARGEST_GAP:
            raise FrameError(f"the number {frame.sequence} after {self.last}")
        self.last = frame.sequence
        self.dropped += gap
        self._keep(frame)


@dataclass(slots=True, eq=False)
class _Reader:
    sock: socket.socket
    lines: LineReader = field(default_factory=lambda: LineReader(MAX_REQUEST))
    follower: Follower | None = None
    blocked_since: float | None = None


class RecordServer:
    """See the module's text. A Keeper of the monitor's loop.

    Made before the workload, so that nobody else can have the name. Raises OSError where it is
    taken.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        status: Callable[["RecordServer"], Status],
        may_ask: Callable[[socket.socket], bool],
    ) -> None:
        self.ring = EventRing()
        self._loop = loop
        self._status = status
        self._may_ask = may_ask
        self._readers: list[_Reader] = []
        self._sources: dict[str, Source] = {}
        self._retry_at: float | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(default_address())
        self._listener.listen(READERS)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), self._on_caller)
        loop.keep(self)

    def source(self, name: str) -> Source:
        """Where the records of the helper ``name`` arrive."""
        return self._sources.setdefault(name, Source(self._add))

    def keep(self, emitted: Emitted) -> bool:
        """A record of the monitor's own; see Sink."""
        self._add(Frame(emitted.lane, emitted.sequence, emitted.json))
        return True

    def counts(self) -> dict[str, tuple[int, int]]:
        """By helper: its last number, and how many records never arrived."""
        return {name: (source.last, source.dropped) for name, source in self._sources.items()}

    @property
    def dropped(self) -> int:
        """How many records of helpers never arrived."""
        return sum(source.dropped for source in self._sources.values())

    def _add(self, frame: Frame) -> None:
        self.ring.add(frame)
        for reader in tuple(self._readers):
            if reader.blocked_since is None:
                self._push(reader, self._loop.now())

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._retry_at

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._retry_at = None
        for reader in tuple(self._readers):
            if reader.blocked_since is not None:
                self._push(reader, now)

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def _on_caller(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # gone again
        if len(self._readers) >= READERS or not self._may_ask(sock):
            sock.close()
            return
        sock.setblocking(False)
        reader = _Reader(sock)
        self._readers.append(reader)
        self._loop.watch(sock.fileno(), lambda: self._on_request(reader))

    def _on_request(self, reader: _Reader) -> None:
        try:
            data = reader.sock.recv(RECEIVE_BYTES)
            for line in reader.lines.feed(data)[:1]:
                if reader.follower is None:
                    self._answer(reader, parse_object(line))
        except (OSError, ValueError, FrameTooLong):
            data = b""
        if not data:
            self._end(reader)

    def _answer(self, reader: _Reader, request: dict[str, object]) -> None:
        match request.get("ask"):
            case "status":
                line = as_json(self._status(self).as_dict()).encode("ascii") + b"\n"
                reader.sock.sendall(line)  # a fresh socket's buffer takes it
                raise ConnectionAbortedError("answered")
            case "events":
                reader.follower = Follower(
                    self.ring,
                    only_denied=request.get("denied") is True,
                    follow=request.get("follow") is True,
                )
                self._push(reader, self._loop.now())
            case _:
                raise ValueError("no such question")

    def _push(self, reader: _Reader, now: float) -> None:
        follower = reader.follower
        if follower is None:
            return
        try:
            for _ in range(FRAMES_PER_TURN):
                waiting = follower.pending()
                if not waiting:
                    break
                follower.sent(reader.sock.send(waiting))
                reader.blocked_since = None
        except BlockingIOError:
            since = reader.blocked_since if reader.blocked_since is not None else now
            reader.blocked_since = since
            self._retry_at = now + RETRY_S
            if now - since > PATIENCE_S or follower.is_cut:
                self._end(reader)
            return
        except OSError:
            self._end(reader)
            return
        if follower.is_over:
            self._end(reader)
        elif follower.pending():
            reader.blocked_since, self._retry_at = now, now  # there is more: in the next turn

    def _end(self, reader: _Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
            self._loop.unwatch(reader.sock.fileno())
            reader.sock.close()
