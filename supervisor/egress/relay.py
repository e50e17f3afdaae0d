"""The data plane: bytes between two connected sockets, by splice(2), until both sides are done.

After admission a tunnel leaves asyncio and lives here (decision 26). Small reads are copied through
one shared buffer; a read that fills it means bulk, and from then on the bytes move from socket to
pipe to socket inside the kernel until the source runs dry. A pipe is held only while it carries
bytes. Nothing is read before there is room to write it, so a slow reader slows its own source and
holds at most one pipe or one buffer's rest.

An orderly end travels as an orderly end (half-close included). Everything else, a reset, a limit,
a withdrawn permission, reaches both sides as a reset: a cut must not look like the end of a file.
"""

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from supervisor.egress.pipes import PIPE_SIZE, Pipe, PipePool
from supervisor.egress.poller import ENDING, READABLE, WRITABLE, Poller
from supervisor.egress.sockets import Socket

# One shared buffer; a read that fills it turns a flow to splice.
COPY_SIZE = 64 * 1024
# A splice that finds less than this turns the flow back.
TRICKLE = 4 * 1024
# What one flow may move before the others get their turn: about 1 ms.
TURN_BYTES = 4 * PIPE_SIZE
# A database session or an editor's connection may rest for long; an hour without a byte in
# either direction is a forgotten one.
IDLE_S = 3600.0
# One side has finished and the other says nothing: the reference waits for ever.
HALF_CLOSED_IDLE_S = 600.0
# Bytes wait for a reader that does not read.
STALLED_S = 600.0
# A permission should not live for ever through one connection.
TOTAL_S = 24 * 3600.0

_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class End(Enum):
    """How a tunnel ended; the value is the word in events."""

    DONE = "done"
    CLIENT_RESET = "client-reset"
    UPSTREAM_RESET = "upstream-reset"
    IDLE = "idle"
    STALLED = "stalled"
    TOTAL = "total"
    POLICY = "policy"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds after which the relay ends a tunnel on its own."""

    idle_s: float = IDLE_S
    half_closed_idle_s: float = HALF_CLOSED_IDLE_S
    stalled_s: float = STALLED_S
    total_s: float = TOTAL_S


class _SinkGone(Exception):  # noqa: N818 - it names which end broke
    """Writing failed for good; the source may be fine."""


class _Flow:
    """One direction: bytes from ``source`` to ``sink``, and what is held in between."""

    __slots__ = (
        "bulk",
        "done",
        "ending",
        "eof",
        "moved",
        "pending",
        "pipe",
        "piped",
        "readable",
        "sink",
        "sink_reset",
        "source",
        "source_reset",
        "tunnel",
        "writable",
    )  # fmt: skip

    def __init__(
        self, tunnel: "Tunnel", source: Socket, sink: Socket, early: bytes, *, may_read: bool
    ) -> None:
        self.tunnel = tunnel
        self.source = source
        self.sink = sink
        self.pending = early
        self.bulk = False
        self.pipe: Pipe | None = None
        self.piped = 0
        self.moved = 0
        # Unknown is yes: the first try finds out.
        self.readable = may_read
        self.writable = True
        self.eof = False
        # Unknown is yes, too: the end may have come before we were told of edges.
        self.ending = may_read
        self.done = False
        upward = source is tunnel.client
        self.source_reset = End.CLIENT_RESET if upward else End.UPSTREAM_RESET
        self.sink_reset = End.UPSTREAM_RESET if upward else End.CLIENT_RESET

    @property
    def holds(self) -> bool:
        """Whether bytes that were read wait to be written."""
        return bool(self.pending) or self.piped > 0


class Tunnel:
    """Two connected sockets of one admitted connection; ``context`` is the admission's own."""

    __slots__ = ("active", "client", "context", "down", "ended", "started", "up", "upstream")

    def __init__(
        self,
        *,
        client: Socket,
        upstream: Socket,
        early: tuple[bytes, bytes],
        may_read: tuple[bool, bool],
        context: object,
        ended: "Callable[[Tunnel, End], None]",
        now: float,
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.context = context
        self.ended = ended
        self.started = self.active = now
        self.up = _Flow(self, client, upstream, early[0], may_read=may_read[0])
        self.down = _Flow(self, upstream, client, early[1], may_read=may_read[1])

    @property
    def bytes_up(self) -> int:
        """Bytes that the client sent and upstream's socket took."""
        return self.up.moved

    @property
    def bytes_down(self) -> int:
        """Bytes that upstream sent and the client's socket took."""
        return self.down.moved


class Relay:
    """Every live tunnel of this process."""

    def __init__(self, poller: Poller, limits: Limits | None = None) -> None:
        self._poller = poller
        self._limits = Limits() if limits is None else limits
        self._pipes = PipePool()
        self._buffer = memoryview(bytearray(COPY_SIZE))
        self._tunnels: set[Tunnel] = set()

    @property
    def tunnels(self) -> frozenset[Tunnel]:
        """The live ones, as a snapshot: live policy goes through them."""
        return frozenset(self._tunnels)

    def __len__(self) -> int:
        return len(self._tunnels)

    def start(
        self,
        *,
        client: Socket,
        upstream: Socket,
        early: tuple[bytes, bytes] = (b"", b""),
        may_read: tuple[bool, bool] = (True, True),
        context: object = None,
        ended: Callable[[Tunnel, End], None],
    ) -> Tunnel:
        """Take over two connected non-blocking sockets; ``early`` (to upstream, to client) goes first.

        ``may_read`` (client, upstream) is False where all that had come was read already. A socket
        that the poller watches already keeps its registration. ``ended`` is called once, after
        both sockets are closed.
        """
        tunnel = Tunnel(
            client=client,
            upstream=upstream,
            early=early,
            may_read=may_read,
            context=context,
            ended=ended,
            now=self._poller.now,
        )
        self._tunnels.add(tunnel)
        self._watch(tunnel.up, tunnel.down)
        self._watch(tunnel.down, tunnel.up)
        self._poller.later(lambda: self._first_try(tunnel))
        return tunnel

    def _watch(self, outgoing: _Flow, incoming: _Flow) -> None:
        """Edges of one socket: it is ``outgoing``'s source and ``incoming``'s sink."""

        def ready(events: int) -> None:
            if events & READABLE:
                outgoing.readable = True
                if events & ENDING:
                    outgoing.ending = True
                self._pump(outgoing)
            if events & WRITABLE and not incoming.writable:
                incoming.writable = True
                self._pump(incoming)

        try:
            self._poller.replace(outgoing.source.fileno(), ready)
        except KeyError:
            self._poller.add(outgoing.source.fileno(), ready)

    def _first_try(self, tunnel: Tunnel) -> None:
        self._pump(tunnel.up)
        self._pump(tunnel.down)

    def end(self, tunnel: Tunnel, how: End) -> None:
        """Close both sockets now; anything but DONE is a reset for both sides."""
        if tunnel not in self._tunnels:
            return
        self._tunnels.remove(tunnel)
        for flow in (tunnel.up, tunnel.down):
            flow.done = True
            if flow.pipe is not None:
                (self._pipes.discard if flow.piped else self._pipes.give_back)(flow.pipe)
                flow.pipe = None
        for side in (tunnel.client, tunnel.upstream):
            self._poller.forget(side.fileno())
            if how is not End.DONE:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            side.close()
        tunnel.ended(tunnel, how)

    def end_all(self, how: End) -> None:
        """End every tunnel."""
        for tunnel in self.tunnels:
            self.end(tunnel, how)

    def sweep(self) -> None:
        """End what has reached a limit. To be called about once a second."""
        now = self._poller.now
        limits = self._limits
        rested = now - min(limits.stalled_s, limits.half_closed_idle_s, limits.idle_s)
        oldest = now - limits.total_s
        # One cheap pass first: ten thousand tunnels must not stall the others.
        suspects = [t for t in self._tunnels if t.active <= rested or t.started <= oldest]
        for tunnel in suspects:
            how = self._overdue(tunnel, now)
            if how is not None:
                self.end(tunnel, how)

    def _overdue(self, tunnel: Tunnel, now: float) -> End | None:
        limits = self._limits
        if now - tunnel.started >= limits.total_s:
            return End.TOTAL
        rest = now - tunnel.active
        if rest >= limits.stalled_s and (tunnel.up.holds or tunnel.down.holds):
            return End.STALLED
        half = tunnel.up.done or tunnel.down.done
        if rest >= (limits.half_closed_idle_s if half else limits.idle_s):
            return End.IDLE
        return None

    def close(self) -> None:
        """End everything and give the kept pipes back."""
        self.end_all(End.SHUTDOWN)
        self._pipes.close()

    def _pump(self, flow: _Flow) -> None:
        """Move what can be moved now."""
        if flow.done:
            return
        before = flow.moved
        again = False
        try:
            again = self._move(flow)
        except _SinkGone:
            self.end(flow.tunnel, flow.sink_reset)
        except OSError:
            self.end(flow.tunnel, flow.source_reset)
        if flow.moved != before:
            flow.tunnel.active = self._poller.now
        if again:
            self._poller.later(lambda: self._pump(flow))

    def _move(self, flow: _Flow) -> bool:
        """Move until one side blocks; True when only the turn's share is used up."""
        stop = flow.moved + TURN_BYTES
        while True:
            if (flow.pending or flow.piped) and not self._drain(flow):
                return False
            if flow.eof:
                self._finish(flow)
                return False
            if not (flow.readable and flow.writable):
                break
            if flow.moved >= stop:
                return True
            if flow.bulk and flow.pipe is None:
                flow.pipe = self._pipes.borrow()
            if flow.pipe is None:
                self._copy(flow)
            else:
                self._splice_in(flow, flow.pipe)
        if flow.pipe is not None and not flow.piped:
            self._pipes.give_back(flow.pipe)
            flow.pipe = None
        return False

    def _copy(self, flow: _Flow) -> None:
        """One read through the shared buffer; what the sink does not take is kept."""
        try:
            count = flow.source.recv_into(self._buffer)
        except BlockingIOError:
            flow.readable = flow.ending = False  # an end that comes from now on makes an edge
            return
        if count == 0:
            flow.eof = True
            return
        flow.pending = bytes(self._buffer[self._send(flow, self._buffer[:count]) : count])
        flow.bulk = count == COPY_SIZE
        # epoll(7): less than asked for means that it is empty, and more makes a new edge. The end
        # may have come with these bytes, in the same edge; then it has to be looked for.
        flow.readable = flow.bulk or flow.ending

    def _splice_in(self, flow: _Flow, pipe: Pipe) -> None:
        """Socket to empty pipe: EAGAIN can only mean that the socket has nothing."""
        try:
            count = os.splice(flow.source.fileno(), pipe.write_end, PIPE_SIZE, flags=_SPLICE)
        except BlockingIOError:
            flow.readable = flow.ending = False  # an end that comes from now on makes an edge
            return
        flow.piped = count
        flow.eof = count == 0
        # A trickle again: copying costs less than borrowing a pipe for every packet.
        flow.bulk = count >= TRICKLE

    def _drain(self, flow: _Flow) -> bool:
        """Write what is held; False when the sink blocks first."""
        if flow.pending:
            flow.pending = flow.pending[self._send(flow, memoryview(flow.pending)) :]
            if flow.pending:
                return False
        pipe = flow.pipe
        while pipe is not None and flow.piped:
            try:
                count = os.splice(pipe.read_end, flow.sink.fileno(), flow.piped, flags=_SPLICE)
            except BlockingIOError:
                flow.writable = False
                return False
            except OSError as error:
                raise _SinkGone from error
            flow.piped -= count
            flow.moved += count
        return True

    def _send(self, flow: _Flow, data: memoryview) -> int:
        """How many bytes of ``data`` the sink took."""
        try:
            count = flow.sink.send(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise _SinkGone from error
        if count < len(data):
            flow.writable = False
        flow.moved += count
        return count

    def _finish(self, flow: _Flow) -> None:
        """The source said its last byte and the sink has it: pass the end on."""
        flow.done = True
        if flow.pipe is not None:
            self._pipes.give_back(flow.pipe)
            flow.pipe = None
        tunnel = flow.tunnel
        if tunnel.up.done and tunnel.down.done:
            self.end(tunnel, End.DONE)
        else:
            try:
                flow.sink.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise _SinkGone from error
