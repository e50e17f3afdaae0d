"""The sidecar's half of the channel: events in, commands out, no system call.

waiting ──somebody connects──▶ greeting ──hello is good──▶ attached ──it says exited──▶ leaving ─▶ end
   ▲                             │ no                        │ connection gone, or silent
   └─────────────────────────────┘                           ▼
   └── its process is dead, nobody of the workload's uid lives ── departed ──too long──▶ end

The listener exists in ``waiting`` and ``greeting`` only, so while a workload lives there is nothing
to connect to, but for a sidecar that was restarted: it takes back who knows the session's token.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from supervisor.errors import Code
from supervisor.kernel.peer import Peer
from supervisor.monitor.lifecycle import SUPERVISOR_STATUS, Finish
from supervisor.sidecar import codes
from supervisor.sidecar.frames import (
    BEAT_S,
    NO_TOKEN,
    SILENCE_S,
    Alive,
    Exited,
    FrameError,
    FromAgent,
    FromSidecar,
    Hello,
    Noted,
    OnLoss,
    Ready,
    Refused,
    SkewError,
    Started,
    Stop,
    Terminate,
    Update,
    Welcome,
)
from supervisor.sidecar.version import RELEASE

AWAIT_AGENT_S = 300.0  # an agent's image may have to be pulled first
HELLO_S = 5.0  # between connecting and the first word
DEPART_S = 10.0  # a runtime ends a container's processes within moments
LOOK_S = 0.1
LEAVE_S = 2.0  # for the peer to read that its exit status was noted
FAIL_S = 5.0  # for the agent's half to end the workload before we do it ourselves
# Wrong peers and wrong words in one wait: only our own half has a reason to connect at all.
MOST_WRONG = 64


class Phase(Enum):
    """See the module's text."""

    WAITING = "waiting"
    GREETING = "greeting"
    ATTACHED = "attached"
    LEAVING = "leaving"
    DEPARTED = "departed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Listen:
    """Open the listener."""


@dataclass(frozen=True, slots=True)
class Unlisten:
    """Close the listener and unlink its name."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message."""

    message: FromSidecar


@dataclass(frozen=True, slots=True)
class SayDocument:
    """Send a message with the current document."""

    message: Welcome | Update


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep the session's digest for a sidecar that is restarted."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class EndAgent:
    """Kill the peer and every process of the workload's uid, as far as we may."""


@dataclass(frozen=True, slots=True)
class Look:
    """Answer with ``on_look``."""


Command = Listen | Unlisten | Drop | Say | SayDocument | Remember | EndAgent | Look | Finish


class Host:
    """The state of one sidecar. Times are of one monotonic clock, in seconds."""

    def __init__(
        self,
        *,
        uid: int,
        gid: int,
        grace_s: float,
        await_s: float = AWAIT_AGENT_S,
        session: bytes | None = None,
    ) -> None:
        """``session`` is the digest that a predecessor remembered."""
        self.phase = Phase.WAITING
        self.generation = 0
        self._uid, self._gid = uid, gid
        self._grace_s = grace_s
        self._await_s = await_s
        self._session = session
        self._ready = False
        self._on_loss = OnLoss.END
        self._status: int | None = None
        self._cause: Code | None = None
        self._stopping = False
        self._wrong = 0
        self._deadline: float | None = None
        self._beat: float | None = None
        self._silent: float | None = None
        self._departed_until = 0.0

    def start(self, *, now: float) -> list[Command]:
        """Egress' sockets exist."""
        return self._wait(now)

    def deadline(self) -> float | None:
        """When ``on_time`` is wanted."""
        times = [time for time in (self._deadline, self._beat, self._silent) if time is not None]
        return min(times, default=None)

    def on_peer(self, peer: Peer, *, now: float) -> list[Command]:
        """Somebody connected."""
        if self.phase is not Phase.WAITING:
            return [Drop()]
        if (peer.uid, peer.gid) != (self._uid, self._gid):
            return self._wrong_peer([Drop()])
        self.phase = Phase.GREETING
        self._deadline = now + HELLO_S
        return []

    def on_message(
        self, message: FromAgent, *, others: int | None, fresh: bytes, now: float
    ) -> list[Command]:
        """The peer said something.

        ``others`` counts further processes of its uid that we see, None without a shared PID
        namespace; ``fresh`` is a token for a new session. Both matter for a hello alone.
        """
        self._silent = now + SILENCE_S if self.phase is Phase.ATTACHED else self._silent
        match message:
            case Hello() if self.phase is Phase.GREETING:
                return self._greet(message, others, fresh, now)
            case Exited(status=status) if self.phase is Phase.ATTACHED:
                self._status = status
                self.phase = Phase.LEAVING
                self._rest(now + LEAVE_S)
                return [Say(Noted())]
            case Started() | Alive() if self.phase is Phase.ATTACHED:
                return []
        return self.on_garbage(FrameError(f"{type(message).__name__} out of order"), now=now)

    def on_garbage(self, error: FrameError, *, now: float) -> list[Command]:
        """The peer said something that is no message."""
        if self.phase is Phase.GREETING:
            code = codes.VERSION_SKEW if isinstance(error, SkewError) else codes.PROTOCOL_ERROR
            return self._refuse(code, f"the agent's half: {error}", now)
        if self.phase is Phase.ATTACHED:
            return [EndAgent(), *self._depart(now)]
        return []

    def on_gone(self, *, now: float) -> list[Command]:
        """The peer closed the connection."""
        match self.phase:
            case Phase.GREETING:
                return self._back(now)
            case Phase.ATTACHED:
                return self._depart(now)
            case Phase.LEAVING:
                return self._leave()
        return []

    def on_look(self, *, dead: bool, others: int | None, now: float) -> list[Command]:
        """Whether the departed peer's process has ended, and how many of its uid we still see."""
        if self.phase is not Phase.DEPARTED:
            return []
        if self._cause is not None and dead and not others:
            return self._finish(SUPERVISOR_STATUS, self._cause)
        if self._stopping and dead:
            return self._finish(0, None)
        if dead and others is None:
            return self._finish(SUPERVISOR_STATUS, codes.AGENT_LOST)
        if dead and others == 0:
            return self._wait(now)
        if now >= self._departed_until:
            return [EndAgent(), *self._finish(SUPERVISOR_STATUS, self._cause or codes.AGENT_LOST)]
        self._deadline = now + LOOK_S
        return [EndAgent()]

    def on_terminate(self, *, now: float) -> list[Command]:
        """TERM. A pod's containers are told in any order: serve until the agent has ended."""
        if self.phase is not Phase.ATTACHED or self._stopping:
            return self._finish(0, None) if self.phase is not Phase.LEAVING else []
        self._stopping = True
        self._deadline = now + self._grace_s
        return [Say(Terminate())] if self._on_loss is OnLoss.END else []

    def on_failure(self, cause: Code, *, now: float) -> list[Command]:
        """What keeps the workload's network closed is no longer sure: the workload has to end."""
        if self.phase is Phase.ENDED:
            return []
        self._cause = self._cause or cause
        if self.phase is not Phase.ATTACHED:
            return [EndAgent(), *self._finish(SUPERVISOR_STATUS, self._cause)]
        self._deadline = now + FAIL_S
        return [Say(Stop())]

    def on_ready(self) -> list[Command]:
        """Egress serves."""
        self._ready = True
        return [Say(Ready())] if self.phase is Phase.ATTACHED else []

    def on_document(self) -> list[Command]:
        """There is a newer document."""
        self.generation += 1
        if self.phase is not Phase.ATTACHED:
            return []
        return [SayDocument(Update(generation=self.generation))]

    def on_time(self, *, now: float) -> list[Command]:
        """The deadline passed."""
        if self._silent is not None and now >= self._silent:
            return [EndAgent(), *self._depart(now)]
        if self._beat is not None and now >= self._beat:
            self._beat = now + BEAT_S
            return [Say(Alive())]
        if self._deadline is None or now < self._deadline:
            return []
        match self.phase:
            case Phase.WAITING:
                return self._finish(SUPERVISOR_STATUS, codes.AGENT_NEVER_CAME)
            case Phase.GREETING:
                return self._refuse(codes.PROTOCOL_ERROR, f"no hello within {HELLO_S} s", now)
            case Phase.LEAVING:
                return self._leave()
            case Phase.DEPARTED:
                self._deadline = now + LOOK_S
                return [Look()]
        if self._cause is not None:
            return [EndAgent(), *self._finish(SUPERVISOR_STATUS, self._cause)]
        return self._finish(0, None)  # told to stop, and the agent took longer than the grace

    def _greet(self, hello: Hello, others: int | None, fresh: bytes, now: float) -> list[Command]:
        if hello.release != RELEASE:
            cause = f"the sidecar is release {RELEASE}, the agent's half {hello.release!r}"
            return self._refuse(codes.VERSION_SKEW, cause, now)
        if hello.token == NO_TOKEN:
            if others:
                cause = f"{others} other processes of uid {self._uid} live in the pod"
                return self._refuse(codes.NOT_RESUMABLE, cause, now)
            if others is None and self._session is not None:
                cause = "there was an agent before, and its processes cannot be seen from here"
                return self._refuse(codes.NOT_RESUMABLE, cause, now)
            token = fresh
        else:
            token = hello.token
            known = self._session or b""
            if not hmac.compare_digest(hashlib.sha256(token).digest(), known):
                return self._refuse(codes.NOT_RESUMABLE, "this is not the session's token", now)
        self.phase = Phase.ATTACHED
        self._on_loss = hello.on_loss
        self._deadline = None
        self._beat, self._silent = now + BEAT_S, now + SILENCE_S
        self._session = hashlib.sha256(token).digest()
        welcome = Welcome(generation=self.generation, token=token)
        ready: list[Command] = [Say(Ready())] if self._ready else []
        return [Unlisten(), Remember(self._session), SayDocument(welcome), *ready]

    def _refuse(self, code: Code, cause: str, now: float) -> list[Command]:
        said = Say(Refused(code=code.name, cause=cause))
        return self._wrong_peer([said, Drop(), *self._back(now)])

    def _wrong_peer(self, commands: list[Command]) -> list[Command]:
        self._wrong += 1
        if self._wrong >= MOST_WRONG:
            return [*commands, *self._finish(SUPERVISOR_STATUS, codes.WRONG_PEER)]
        return commands

    def _wait(self, now: float) -> list[Command]:
        self._wrong = 0
        self._rest(now + self._await_s)
        self.phase = Phase.WAITING
        return [Listen()]

    def _back(self, now: float) -> list[Command]:
        self.phase = Phase.WAITING
        self._deadline = now + self._await_s
        return []

    def _depart(self, now: float) -> list[Command]:
        self.phase = Phase.DEPARTED
        self._departed_until = now + DEPART_S
        self._rest(now)
        return [Drop(), Look()]

    def _leave(self) -> list[Command]:
        if self._cause is not None:
            return self._finish(SUPERVISOR_STATUS, self._cause)
        return self._finish(self._status or 0, None)

    def _rest(self, deadline: float) -> None:
        self._deadline, self._beat, self._silent = deadline, None, None

    def _finish(self, status: int, cause: Code | None) -> list[Command]:
        self.phase = Phase.ENDED
        self._deadline = self._beat = self._silent = None
        return [Finish(status, cause)]
