"""What the two halves of a pod say to each other: one packet of a SOCK_SEQPACKET for a message.

    packet     4s magic "SBXC", u16 protocol, u8 kind, body               (little-endian)

    agent → sidecar                     fixed sizes: the privileged half parses no free form
      hello    u8 on_loss, 32s token (zeros: a new start), text release
      started  u32 pid, u64 start time
      exited   u8 status
      alive
    sidecar → agent
      welcome  u32 generation, 32s token, text release; descriptor: the document
      update   u32 generation; descriptor: the document
      ready, terminate, stop, noted, alive
      refused  text "code NUL cause"

A document (policy and environment) comes as a sealed memfd beside its packet, so that no packet is
large. The head never changes: whatever release the other half is, skew can be told.
"""

import struct
from dataclasses import dataclass
from enum import Enum

from supervisor.sidecar.version import PROTOCOL, RELEASE

MAGIC = b"SBXC"
# Both halves say once in so many seconds that they live; silence of the other length is an end
# (SIGSTOP, a machine without memory).
BEAT_S = 2.0
SILENCE_S = 20.0
TOKEN_BYTES = 32
NO_TOKEN = bytes(TOKEN_BYTES)
MAX_TEXT = 2048  # a refusal: a code and its cause
# The static half of the largest policy, as JSON (supervisor.startup.forked.ANSWER_BYTES holds all).
MAX_DOCUMENT = 8 << 20

_HEAD = struct.Struct("<4sHB")
_HELLO = struct.Struct(f"<B{TOKEN_BYTES}s")
_STARTED = struct.Struct("<IQ")
_EXITED = struct.Struct("<B")
_WELCOME = struct.Struct(f"<I{TOKEN_BYTES}s")
_UPDATE = struct.Struct("<I")
MAX_PACKET = _HEAD.size + _WELCOME.size + MAX_TEXT


class FrameError(ValueError):
    """The packet is no message of this protocol."""


class SkewError(FrameError):
    """The packet is a message of another protocol version, ``found``."""

    def __init__(self, found: int) -> None:
        super().__init__(f"protocol {found}, not {PROTOCOL}")
        self.found = found


class OnLoss(Enum):
    """What the agent's half does when the sidecar goes away."""

    END = 0
    WAIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first word of the agent's half; ``token`` of an earlier welcome to go on with it."""

    on_loss: OnLoss
    token: bytes = NO_TOKEN
    release: str = RELEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The workload's main process, in the agent's own PID namespace: its identity anchor."""

    pid: int
    start_time: int  # clock ticks after boot


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The agent's half is about to end with this exit status."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Nothing new; both say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to hello; its descriptor is the document of this generation."""

    generation: int
    token: bytes
    release: str = RELEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A later document, in the packet's descriptor."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Egress serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the workload now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """The sidecar was told to end: end the workload with its grace, while the network is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Exited was heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The last word to a peer that is not taken."""

    code: str
    cause: str


FromAgent = Hello | Started | Exited | Alive
FromSidecar = Welcome | Update | Ready | Stop | Terminate | Noted | Refused | Alive
Message = FromAgent | FromSidecar

HELLO, STARTED, EXITED, ALIVE, WELCOME, UPDATE, READY, STOP, NOTED, REFUSED, TERMINATE = range(
    1, 12
)
_PLAIN: dict[int, Message] = {
    ALIVE: Alive(),
    READY: Ready(),
    STOP: Stop(),
    NOTED: Noted(),
    TERMINATE: Terminate(),
}
_PLAIN_KINDS = {message: kind for kind, message in _PLAIN.items()}


def encode(message: Message) -> bytes:
    """The packet; a text that is too long is cut."""
    match message:
        case Hello():
            body = _HELLO.pack(message.on_loss.value, message.token) + _text(message.release)
            kind = HELLO
        case Started():
            kind, body = STARTED, _STARTED.pack(message.pid, message.start_time)
        case Exited():
            kind, body = EXITED, _EXITED.pack(message.status)
        case Welcome():
            body = _WELCOME.pack(message.generation, message.token) + _text(message.release)
            kind = WELCOME
        case Update():
            kind, body = UPDATE, _UPDATE.pack(message.generation)
        case Refused():
            kind, body = REFUSED, _text(f"{message.code}\0{message.cause}")
        case _:
            kind, body = _PLAIN_KINDS[message], b""
    return _HEAD.pack(MAGIC, PROTOCOL, kind) + body


def decode_from_agent(packet: bytes) -> FromAgent:
    """What the sidecar hears. Raises FrameError; SkewError where the protocol is another."""
    message = _decode(packet)
    if not isinstance(message, FromAgent):
        raise FrameError(f"{type(message).__name__} is not the agent's to say")
    return message


def decode_from_sidecar(packet: bytes) -> FromSidecar:
    """What the agent's half hears. Raises FrameError; SkewError where the protocol is another."""
    message = _decode(packet)
    if not isinstance(message, FromSidecar):
        raise FrameError(f"{type(message).__name__} is not the sidecar's to say")
    return message


def _decode(packet: bytes) -> Message:
    if not _HEAD.size <= len(packet) <= MAX_PACKET:
        raise FrameError(f"{len(packet)} bytes")
    magic, protocol, kind = _HEAD.unpack_from(packet)
    if magic != MAGIC:
        raise FrameError("not a packet of ours")
    if protocol != PROTOCOL:
        raise SkewError(protocol)
    try:
        return _body(kind, packet[_HEAD.size :])
    except (struct.error, UnicodeDecodeError) as error:
        raise FrameError(f"kind {kind}: {error}") from None


def _body(kind: int, body: bytes) -> Message:
    match kind:
        case _ if kind in _PLAIN and not body:
            return _PLAIN[kind]
        case _ if kind == HELLO:
            loss, token = _HELLO.unpack_from(body)
            if loss not in (OnLoss.END.value, OnLoss.WAIT.value):
                raise FrameError(f"on_loss {loss}")
            release = body[_HELLO.size :].decode()
            return Hello(on_loss=OnLoss(loss), token=token, release=release)
        case _ if kind == STARTED:
            pid, start_time = _STARTED.unpack(body)
            return Started(pid=pid, start_time=start_time)
        case _ if kind == EXITED:
            return Exited(status=_EXITED.unpack(body)[0])
        case _ if kind == WELCOME:
            generation, token = _WELCOME.unpack_from(body)
            return Welcome(
                generation=generation, token=token, release=body[_WELCOME.size :].decode()
            )
        case _ if kind == UPDATE:
            return Update(generation=_UPDATE.unpack(body)[0])
        case _ if kind == REFUSED:
            code, separator, cause = body.decode().partition("\0")
            if not separator:
                raise FrameError("a refusal without a cause")
            return Refused(code=code, cause=cause)
    raise FrameError(f"kind {kind} with {len(body)} bytes")


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "backslashreplace")[:MAX_TEXT]
    return data.decode("utf-8", "ignore").encode()  # never half a character
