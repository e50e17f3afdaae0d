"""The agent's end of the control channel: attach before the workload, then do what Guest says."""

import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from supervisor.errors import Code, Refusal
from supervisor.events.log import Log
from supervisor.events.status import HelperStatus
from supervisor.events.vocabulary import PodMessage, PolicyLoaded, PolicyNeedsRestart, Why
from supervisor.kernel import peer
from supervisor.monitor.loop import Loop
from supervisor.sidecar import codes, directory, guest_states
from supervisor.sidecar.document import Document, DocumentError, read_document
from supervisor.sidecar.frames import (
    MAX_PACKET,
    Exited,
    FrameError,
    FromAgent,
    FromSidecar,
    Hello,
    Noted,
    OnLoss,
    Refused,
    SkewError,
    Started,
    Welcome,
    decode_from_sidecar,
    encode,
)
from supervisor.sidecar.guest_states import ANSWER_S, Guest
from supervisor.sidecar.version import RELEASE

RETRY_S = 0.1
NOTED_S = 2.0  # for the sidecar to hear the exit status; the container's end says it, too
MAX_DESCRIPTORS = 1


@dataclass(frozen=True, slots=True)
class Attached:
    """The answer to a hello."""

    connection: socket.socket
    welcome: Welcome
    document: Document


def attach(shared: str, *, on_loss: OnLoss, wait_s: float) -> Attached:
    """Connect to the pod's sidecar as soon as it is there, at most ``wait_s`` seconds from now.

    Raises Refusal: ``sidecar.not-there``, what the sidecar refused with, or ``sidecar.version-skew``.
    """
    end = time.monotonic() + wait_s
    why = "it never listened"
    while time.monotonic() < end:
        if told := signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
            raise Refusal(codes.TOLD_TO_END, f"{min(told).name} while waiting for the sidecar")
        try:
            connection = connect(shared)
        except OSError as error:
            why = f"{shared}: {error.strerror}"
        else:
            answer = _greet(connection, on_loss)
            if answer is not None:
                return answer
            why = "it closed the connection without a word"
        time.sleep(RETRY_S)
    raise Refusal(codes.NO_SIDECAR, f"not within {wait_s:g} s: {why}")


def connect(shared: str) -> socket.socket:
    """A connection to whom the control directory belongs, not blocking. Raises OSError, Refusal."""
    control = os.path.join(shared, directory.CONTROL)
    owner = os.stat(control, follow_symlinks=False).st_uid
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setblocking(False)
    try:
        connection.connect(os.path.join(control, directory.SOCKET))
        other = peer.peer_of(connection)
    except OSError:
        connection.close()
        raise
    if other.uid != owner or other.uid == os.geteuid():
        connection.close()
        cause = f"uid {other.uid} listens in a directory of uid {owner}"
        raise Refusal(codes.WRONG_PEER, cause)
    return connection


def _greet(connection: socket.socket, on_loss: OnLoss) -> Attached | None:
    """Say hello and wait for the welcome; None where the connection ended without a word."""
    try:
        connection.send(encode(Hello(on_loss=on_loss)))
        if not _readable(connection, ANSWER_S):
            raise Refusal(codes.NO_SIDECAR, f"no answer to hello within {ANSWER_S:g} s")
        received = receive(connection)
    except OSError:
        received = None
    except SkewError as error:
        raise Refusal(codes.VERSION_SKEW, f"the sidecar: {error}") from error
    except (FrameError, DocumentError) as error:
        raise Refusal(codes.PROTOCOL_ERROR, str(error)) from error
    match received:
        case None:
            connection.close()
            return None
        case (Welcome() as welcome, Document() as document):
            if welcome.release != RELEASE:
                cause = f"the sidecar is release {welcome.release!r}, this half {RELEASE}"
                raise Refusal(codes.VERSION_SKEW, cause)
            return Attached(connection, welcome, document)
        case (Refused(code=name, cause=cause), _):
            raise Refusal(_named(name), cause)
        case (message, _):
            raise Refusal(codes.PROTOCOL_ERROR, f"{type(message).__name__} instead of a welcome")


def receive(connection: socket.socket) -> tuple[FromSidecar, Document | None] | None:
    """The next message and its document; None at the end. Raises FrameError, DocumentError,
    OSError (BlockingIOError where nothing waits)."""
    packet, descriptors, _, _ = socket.recv_fds(
        connection, MAX_PACKET + 1, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
    )
    try:
        if not packet:
            return None
        message = decode_from_sidecar(packet)
        return message, read_document(descriptors[0]) if descriptors else None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _readable(connection: socket.socket, within_s: float) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _named(name: str) -> Code:
    known = (value for value in vars(codes).values() if isinstance(value, Code))
    return next((code for code in known if code.name == name), codes.PROTOCOL_ERROR)


class ControlGuest:
    """A Keeper of the loop around one Guest."""

    def __init__(
        self,
        attached: Attached,
        *,
        shared: str,
        on_loss: OnLoss,
        lost_s: float,
        loop: Loop,
        log: Log,
    ) -> None:
        self.document = attached.document
        self._guest = Guest(
            on_loss=on_loss,
            token=attached.welcome.token,
            generation=attached.welcome.generation,
            lost_s=lost_s,
            now=time.monotonic(),
        )
        self._connection: socket.socket | None = attached.connection
        self._pending: Document | None = None
        self._resumed = 0
        self._shared = shared
        self._loop = loop
        self._log = log
        loop.watch(attached.connection.fileno(), self._on_packet)
        loop.keep(self)

    def started(self, pid: int, start_time: int) -> None:
        """The workload runs."""
        self._say(Started(pid=pid, start_time=start_time))

    def report(self, status: int) -> bool:
        """Say how the workload ended; False where nobody noted it within NOTED_S."""
        end = time.monotonic() + NOTED_S
        self._say(Exited(status=status))
        while self._connection is not None and (left := end - time.monotonic()) > 0:
            if not _readable(self._connection, left):
                break
            try:
                received = receive(self._connection)
            except (OSError, FrameError, DocumentError):
                return False
            if received is None or isinstance(received[0], Noted):
                return received is not None
        return False

    def status(self) -> HelperStatus:
        """For ``status``: the sidecar, as seen from here."""
        state = "serving" if self._guest.phase is guest_states.Phase.ATTACHED else "down"
        return HelperStatus(name="sidecar", pid=None, state=state, restarts=self._resumed)

    @property
    def generation(self) -> int:
        """Of the document that holds."""
        return self._guest.generation

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset()

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def deadline(self) -> float | None:
        """See Keeper."""
        return self._guest.deadline()

    def on_time(self, now: float) -> None:
        """See Keeper."""
        self._obey(self._guest.on_time(now=now))

    def _on_packet(self) -> None:
        if self._connection is None:
            return
        now = time.monotonic()
        try:
            received = receive(self._connection)
        except BlockingIOError:
            return
        except (OSError, FrameError, DocumentError) as error:
            self._obey(self._guest.on_gone(str(error), now=now))
            return
        if received is None:
            self._obey(self._guest.on_gone("it closed the connection", now=now))
            return
        message, self._pending = received
        self._obey(self._guest.on_message(message, now=now))

    def _obey(self, commands: Iterable[guest_states.Command]) -> None:
        for command in commands:
            match command:
                case guest_states.Say(message=message):
                    self._say(message)
                case guest_states.Drop():
                    self._drop()
                case guest_states.Connect():
                    self._connect()
                case guest_states.TakeDocument(generation=generation):
                    self._take(generation)
                case guest_states.Tell(event=event, cause=cause):
                    why = Why(code=event, cause=cause) if cause else None
                    self._log.emit(PodMessage(name=event, why=why))
                case guest_states.EndWorkload(cause=code):
                    self._loop.fail(code)
                case guest_states.StopWorkload():
                    signal.raise_signal(signal.SIGTERM)  # blocked: the loop reads it
                case _:
                    assert_never(command)

    def _take(self, generation: int) -> None:
        if self._pending is None:
            cause = f"generation {generation} came without its document"
            self._obey(self._guest.on_gone(cause, now=time.monotonic()))
            return
        static_changed = self._pending.policy != self.document.policy
        self.document = self._pending
        self._log.emit(PolicyLoaded(generation=generation))
        if static_changed:  # which, the sidecar's log says
            self._log.emit(PolicyNeedsRestart(sections=()))

    def _connect(self) -> None:
        try:
            self._connection = connect(self._shared)
        except (OSError, Refusal):
            return  # it is not back yet: the next try is due, and their end is bounded
        self._loop.watch(self._connection.fileno(), self._on_packet)
        self._resumed += 1
        self._obey(self._guest.on_connected(now=time.monotonic()))

    def _say(self, message: FromAgent) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send(encode(message))
        except OSError as error:
            # It is gone, or does not read: the connection's end or its silence will tell.
            self._log.emit(
                PodMessage(name="sidecar.unheard", why=Why.of(codes.UNHEARD, str(error)))
            )

    def _drop(self) -> None:
        if self._connection is not None:
            self._loop.unwatch(self._connection.fileno())
            self._connection.close()
            self._connection = None
