"""The agent's half of the channel, once attached: events in, commands out, no system call.

attached ──connection gone, or silent──▶ (END) the workload is ended
   ▲                                     (WAIT) lost ──retry──▶ resuming ──welcome──▶ attached
   └──────────────────────────────────────────────────│ too long, or refused: the workload is ended

While it is lost the workload has no network: nobody listens where the fence redirects to.
"""

from dataclasses import dataclass
from enum import Enum

from supervisor.errors import Code
from supervisor.sidecar import codes
from supervisor.sidecar.frames import (
    BEAT_S,
    SILENCE_S,
    Alive,
    FromAgent,
    FromSidecar,
    Hello,
    Noted,
    OnLoss,
    Ready,
    Refused,
    Stop,
    Terminate,
    Update,
    Welcome,
)

LOST_S = 120.0  # a container's restart, with the back-off of a second or third one
RETRY_S = 0.5
ANSWER_S = 10.0  # between hello and welcome


class Phase(Enum):
    """See the module's text."""

    ATTACHED = "attached"
    LOST = "lost"
    RESUMING = "resuming"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message."""

    message: FromAgent


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Try to connect; answer with ``on_connected`` where it worked."""


@dataclass(frozen=True, slots=True)
class TakeDocument:
    """The packet's descriptor is the document of this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Put an event into the log."""

    event: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class EndWorkload:
    """No grace."""

    cause: Code


@dataclass(frozen=True, slots=True)
class StopWorkload:
    """As if TERM had come."""


Command = Say | Drop | Connect | TakeDocument | Tell | EndWorkload | StopWorkload


class Guest:
    """The state of one agent's half. Times are of one monotonic clock, in seconds."""

    def __init__(
        self, *, on_loss: OnLoss, token: bytes, generation: int, lost_s: float = LOST_S, now: float
    ) -> None:
        self.phase = Phase.ATTACHED
        self._on_loss = on_loss
        self._token = token
        self.generation = generation
        self._lost_s = lost_s
        self._beat = now + BEAT_S
        self._silent = now + SILENCE_S
        self._retry = 0.0
        self._lost_until = 0.0

    def deadline(self) -> float | None:
        """When ``on_time`` is wanted."""
        match self.phase:
            case Phase.ATTACHED:
                return min(self._beat, self._silent)
            case Phase.LOST | Phase.RESUMING:
                return min(self._retry, self._lost_until)
        return None

    def on_message(self, message: FromSidecar, *, now: float) -> list[Command]:
        """The sidecar said something."""
        if self.phase is Phase.RESUMING:
            return self._resume(message, now)
        if self.phase is not Phase.ATTACHED:
            return []
        self._silent = now + SILENCE_S
        match message:
            case Update(generation=generation) if generation > self.generation:
                self.generation = generation
                return [TakeDocument(generation)]
            case Ready():
                return [Tell("sidecar.ready")]
            case Stop():
                self.phase = Phase.ENDING
                return [EndWorkload(codes.ORDERED)]
            case Terminate():
                return [Tell("sidecar.terminating"), StopWorkload()]
            case Alive() | Noted() | Update():
                return []
        return self._lose(f"{type(message).__name__} out of order", now)

    def on_gone(self, cause: str, *, now: float) -> list[Command]:
        """The connection ended, or carried what is no message."""
        if self.phase in (Phase.ATTACHED, Phase.RESUMING):
            return self._lose(cause, now)
        return []

    def on_connected(self, *, now: float) -> list[Command]:
        """``Connect`` worked."""
        self.phase = Phase.RESUMING
        self._retry = now + ANSWER_S
        return [Say(Hello(on_loss=self._on_loss, token=self._token))]

    def on_time(self, *, now: float) -> list[Command]:
        """The deadline passed."""
        if self.phase is Phase.ATTACHED:
            if now >= self._silent:
                return self._lose(f"silent for {SILENCE_S} s", now)
            if now >= self._beat:
                self._beat = now + BEAT_S
                return [Say(Alive())]
            return []
        if self.phase is Phase.ENDING:
            return []
        if now >= self._lost_until:
            return self._end(codes.LOST)
        if now < self._retry:
            return []
        dropped: list[Command] = [Drop()] if self.phase is Phase.RESUMING else []
        self.phase = Phase.LOST
        self._retry = now + RETRY_S
        return [*dropped, Connect()]

    def _resume(self, message: FromSidecar, now: float) -> list[Command]:
        match message:
            case Welcome(generation=generation):
                self.phase = Phase.ATTACHED
                self.generation = generation
                self._beat, self._silent = now + BEAT_S, now + SILENCE_S
                return [Tell("sidecar.resumed"), TakeDocument(generation)]
            case Refused(code=code, cause=cause):
                return [Tell("sidecar.refused", f"{code}: {cause}"), *self._end(codes.LOST)]
        return self._lose(f"{type(message).__name__} instead of a welcome", now)

    def _lose(self, cause: str, now: float) -> list[Command]:
        said: list[Command] = [Drop(), Tell("sidecar.lost", cause)]
        if self._on_loss is OnLoss.END:
            return [*said, *self._end(codes.LOST)]
        if self.phase is Phase.ATTACHED:
            self._lost_until = now + self._lost_s
        self.phase = Phase.LOST
        self._retry = now + RETRY_S
        return said

    def _end(self, cause: Code) -> list[Command]:
        self.phase = Phase.ENDING
        return [Drop(), EndWorkload(cause)]
