"""The sidecar's end of the control channel: does what ``host_states`` says.

It accepts one peer at a time, and while a workload lives it listens to nobody else: the peer is
proved by SO_PEERCRED and pinned by a pidfd, then the listener is closed and its name unlinked.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import assert_never

from supervisor.errors import Code
from supervisor.events.log import Log
from supervisor.events.vocabulary import PodMessage, Why
from supervisor.kernel import peer, procfs
from supervisor.kernel.memfd import sealed
from supervisor.monitor import lifecycle
from supervisor.monitor.lifecycle import Finish
from supervisor.monitor.loop import Loop
from supervisor.sidecar import codes, directory, host_states
from supervisor.sidecar.frames import (
    MAX_PACKET,
    TOKEN_BYTES,
    FrameError,
    FromSidecar,
    Started,
    decode_from_agent,
    encode,
)
from supervisor.sidecar.host_states import Host

# Messages of one peer that are read before the loop looks at anything else.
READS_PER_TURN = 16


class Ends:
    """When the sidecar ends: what the monitor's Loop asks. There is no main process."""

    def __init__(self) -> None:
        self._end: ControlHost | None = None
        self._finish: Finish | None = None

    def attach(self, host: "ControlHost") -> None:
        """From now on TERM and failures are the host's to answer."""
        self._end = host

    def finish(self, finish: Finish) -> None:
        """End with the loop's next turn."""
        self._finish = self._finish or finish

    def deadline(self) -> float | None:
        """See Supervised."""
        return 0.0 if self._finish is not None else None

    def on_signal(self, number: int, *, now: float) -> list[lifecycle.Command]:
        """See Supervised."""
        if number not in (signal.SIGTERM, signal.SIGINT):
            return []
        if self._end is None:
            return [Finish(0, None)]
        self._end.terminate(now)
        return []

    def on_failure(self, cause: Code, *, now: float) -> list[lifecycle.Command]:
        """See Supervised."""
        if self._end is None:
            return [Finish(lifecycle.SUPERVISOR_STATUS, cause)]
        self._end.fail(cause, now)
        return []

    def on_main_exit(self, status: int, *, now: float) -> list[lifecycle.Command]:  # noqa: ARG002 - the protocol
        """See Supervised."""
        return []

    def on_time(self, *, now: float, survivors: int) -> list[lifecycle.Command]:  # noqa: ARG002 - the protocol
        """See Supervised."""
        return [] if self._finish is None else [self._finish]


class ControlHost:
    """A Keeper of the loop around one Host."""

    def __init__(
        self,
        host: Host,
        *,
        shared: str,
        control: int,
        uid: int,
        document: bytes,
        on_agent: Callable[[int], None],
        ends: Ends,
        loop: Loop,
        log: Log,
    ) -> None:
        """``control`` is the opened directory in ``shared``; ``on_agent`` hears the pid of each agent, 0 if unseen."""
        self._host = host
        self._path = os.path.join(shared, directory.CONTROL, directory.SOCKET)
        self._control = control
        self._uid = uid
        self._document = document
        self._on_agent = on_agent
        self._ends = ends
        self._loop = loop
        self._log = log
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._who = peer.Peer(0, 0, 0)
        self._pidfd: int | None = None

    def start(self) -> None:
        """Listen. Raises OSError."""
        self._obey(self._host.start(now=time.monotonic()))

    def terminate(self, now: float) -> None:
        """TERM came."""
        self._obey(self._host.on_terminate(now=now))

    def fail(self, cause: Code, now: float) -> None:
        """The fence or egress failed for good."""
        self._log.emit(PodMessage(name="sidecar.failed", why=Why.of(cause)))
        self._obey(self._host.on_failure(cause, now=now))

    def ready(self) -> None:
        """Egress serves."""
        self._obey(self._host.on_ready())

    def publish(self, document: bytes) -> None:
        """Push a new document to the agent's half."""
        if document != self._document:
            self._document = document
            self._obey(self._host.on_document())

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._host.deadline()

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._obey(self._host.on_time(now=now))

    def _obey(self, commands: Iterable[host_states.Command]) -> None:
        for command in commands:
            match command:
                case host_states.Say() | host_states.SayDocument():
                    self._say(command)
                case host_states.Listen() | host_states.Unlisten() | host_states.Drop():
                    self._open_or_close(command)
                case host_states.Remember(digest=digest):
                    self._attached(digest)
                case host_states.EndAgent():
                    self._end_agent()
                case host_states.Look():
                    self._look()
                case Finish():
                    self._ends.finish(command)
                case _:
                    assert_never(command)

    def _open_or_close(
        self, command: host_states.Listen | host_states.Unlisten | host_states.Drop
    ) -> None:
        match command:
            case host_states.Listen():
                self._listen()
            case host_states.Unlisten():
                self._unlisten()
            case host_states.Drop():
                self._drop()

    def _listen(self) -> None:
        if self._listener is not None:
            return
        with contextlib.suppress(FileNotFoundError):  # a predecessor's
            os.unlink(directory.SOCKET, dir_fd=self._control)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self._path)  # nobody but root and us can exchange what is on the way
        os.chmod(directory.SOCKET, directory.SOCKET_MODE, dir_fd=self._control)
        listener.listen(1)
        listener.setblocking(False)
        self._listener = listener
        self._loop.watch(listener.fileno(), self._on_connection)

    def _unlisten(self) -> None:
        if self._listener is None:
            return
        self._loop.unwatch(self._listener.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(directory.SOCKET, dir_fd=self._control)
        self._listener.close()
        self._listener = None

    def _on_connection(self) -> None:
        if self._listener is None or self._peer is not None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it went away again
        connection.setblocking(False)
        self._peer = connection
        self._loop.unwatch(self._listener.fileno())  # one at a time: others wait in the backlog
        try:
            self._who = peer.peer_of(connection)
            self._pidfd = peer.pin(connection)
        except OSError as error:
            self._refused(str(error))
            self._drop()
            return
        self._loop.watch(connection.fileno(), self._on_packet)
        commands = self._host.on_peer(self._who, now=time.monotonic())
        if commands:
            self._refused(f"pid {self._who.pid}, uid {self._who.uid}, gid {self._who.gid}")
        self._obey(commands)

    def _refused(self, cause: str) -> None:
        why = Why.of(codes.WRONG_PEER, cause)
        self._log.emit(PodMessage(name="sidecar.peer-refused", why=why))

    def _on_packet(self) -> None:
        for _ in range(READS_PER_TURN):
            if self._peer is None:
                return
            now = time.monotonic()
            try:
                packet = self._peer.recv(MAX_PACKET + 1)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._drop()
                self._obey(self._host.on_gone(now=now))
                return
            self._on_words(packet, now)

    def _on_words(self, packet: bytes, now: float) -> None:
        try:
            message = decode_from_agent(packet)
        except FrameError as error:
            why = Why.of(codes.PROTOCOL_ERROR, str(error))
            self._log.emit(PodMessage(name="sidecar.protocol", pid=self._who.pid, why=why))
            self._obey(self._host.on_garbage(error, now=now))
            return
        if isinstance(message, Started):
            self._log.emit(PodMessage(name="agent.started", pid=message.pid, uid=self._uid))
        fresh = os.urandom(TOKEN_BYTES)
        commands = self._host.on_message(message, others=self._others(), fresh=fresh, now=now)
        self._obey(commands)

    def _others(self) -> int | None:
        """Processes of the workload's uid but the peer; None where we cannot see them."""
        if not self._who.pid:
            return None
        return sum(pid != self._who.pid for pid in procfs.pids_of(self._uid))

    def _attached(self, digest: bytes) -> None:
        directory.remember(self._control, digest)
        self._on_agent(self._who.pid)
        self._log.emit(PodMessage(name="agent.attached", pid=self._who.pid, uid=self._who.uid))

    def _say(self, command: host_states.Say | host_states.SayDocument) -> None:
        if isinstance(command, host_states.Say):
            self._send(command.message, ())
            return
        memory = sealed("document", self._document)
        try:
            self._send(command.message, (memory,))
        finally:
            os.close(memory)

    def _send(self, message: FromSidecar, descriptors: tuple[int, ...]) -> None:
        if self._peer is None:
            return
        try:
            socket.send_fds(self._peer, [encode(message)], descriptors)
        except OSError as error:
            # It does not read, or is gone: the connection's end or its silence will tell.
            self._log.emit(
                PodMessage(name="sidecar.unheard", why=Why.of(codes.UNHEARD, str(error)))
            )

    def _drop(self) -> None:
        if self._peer is None:
            return
        self._loop.unwatch(self._peer.fileno())
        self._peer.close()
        self._peer = None
        if self._listener is not None:
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            self._loop.watch(self._listener.fileno(), self._on_connection)

    def _look(self) -> None:
        dead = self._pidfd is None or peer.is_dead(self._pidfd)
        others = self._others()
        commands = self._host.on_look(dead=dead, others=others, now=time.monotonic())
        if dead and self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self._obey(commands)

    def _end_agent(self) -> None:
        if self._pidfd is not None:
            # Unprivileged we may not, and it may have ended: then its container does the rest.
            with contextlib.suppress(OSError):
                peer.kill(self._pidfd)
        if os.geteuid() == 0:
            end_all_of(self._uid)


def end_all_of(uid: int) -> int:
    """Kill every process of the uid that we see, once; how many there were. Needs CAP_KILL."""
    found = procfs.pids_of(uid)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, signal.SIGKILL)
    return len(found)
