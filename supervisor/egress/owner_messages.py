"""What egress and the monitor say to each other about connections: two packets, both bounded.

Over a SOCK_SEQPACKET socketpair, so that a packet is a message; questions that come up at the same
time share one. The monitor parses 20 fixed bytes of each and nothing else; the names in its answer come from the kernel (``/proc/PID/exe``), and its
descriptors (SCM_RIGHTS) are those executables, opened. Little-endian, no padding.

    questions at most MAX_QUESTIONS of: u64 id, u64 inode, u32 uid
    answer    u64 id, u8 outcome, u8 executables, u8 holders
              executable: u16 length, path          in the order of the descriptors
              holder:     u32 pid, u64 start time (clock ticks after boot), u8 executable,
                          u8 ancestors, u8 executable of each, nearest first
"""

import struct
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

# A connection is held by one process, or by the few that a fork left it to.
MAX_HOLDERS = 16
MAX_ANCESTORS = 64
# SCM_RIGHTS carries at most 253 descriptors; a chain of processes has a handful of programs.
MAX_EXECUTABLES = 32
MAX_PATH = 4096
MAX_ANSWER = 64 * 1024
# Answers that are kept decoded; an ordinary one has 100 bytes.
REMEMBERED = 256

_QUESTION = struct.Struct("<QQI")
_ID = struct.Struct("<Q")
_ANSWER = struct.Struct("<BBB")
_LENGTH = struct.Struct("<H")
_HOLDER = struct.Struct("<IQBB")
# Decision 24: the monitor queues so many.
MAX_QUESTIONS = 64
QUESTIONS_SIZE = MAX_QUESTIONS * _QUESTION.size


class Outcome(Enum):
    """How the monitor's search ended."""

    FOUND = 0
    VANISHED = 1
    UNREADABLE = 2
    OVER_BUDGET = 3


class Question(NamedTuple):
    """Which processes hold the socket with this inode?"""

    question_id: int
    inode: int
    uid: int


class Holder(NamedTuple):
    """One process that holds the socket; programs are indices into Answer.executables."""

    pid: int
    start_time: int
    executable: int
    ancestors: tuple[int, ...]


class Answer(NamedTuple):
    """All holders, and each program among them and their ancestors once."""

    question_id: int
    outcome: Outcome
    executables: tuple[bytes, ...] = ()
    holders: tuple[Holder, ...] = ()


class MessageError(ValueError):
    """The packet is not one of these messages."""


def encode_questions(questions: Sequence[Question]) -> bytes:
    """The packet."""
    return b"".join([_QUESTION.pack(*question) for question in questions])


def decode_questions(packet: bytes) -> list[Question]:
    """The messages, at least one; raises MessageError."""
    if not 0 < len(packet) <= QUESTIONS_SIZE or len(packet) % _QUESTION.size:
        raise MessageError(f"{len(packet)} bytes are not 1 to {MAX_QUESTIONS} questions")
    return [Question(*fields) for fields in _QUESTION.iter_unpack(packet)]


def encode_answer(answer: Answer) -> bytes:
    """The packet; raises MessageError where a bound does not hold."""
    parts = [
        _ID.pack(answer.question_id),
        _ANSWER.pack(
            answer.outcome.value,
            len(answer.executables),
            len(answer.holders),
        ),
    ]
    for path in answer.executables:
        parts += [_LENGTH.pack(len(path)), path]
    for holder in answer.holders:
        parts.append(
            _HOLDER.pack(holder.pid, holder.start_time, holder.executable, len(holder.ancestors))
        )
        parts.append(bytes(holder.ancestors))
    packet = b"".join(parts)
    decode_answer(packet)  # what we could not read ourselves is never sent
    return packet


def decode_answer(packet: bytes) -> Answer:
    """The message; raises MessageError."""
    if len(packet) > MAX_ANSWER:
        raise MessageError(f"an answer of {len(packet)} bytes")
    try:
        outcome, executables, holders = _decode_rest(packet[_ID.size :])
        (question_id,) = _ID.unpack_from(packet)
    except (struct.error, ValueError) as error:
        raise MessageError(str(error)) from None
    return Answer(
        question_id=question_id, outcome=outcome, executables=executables, holders=holders
    )


@lru_cache(REMEMBERED)
def _decode_rest(packet: bytes) -> tuple[Outcome, tuple[bytes, ...], tuple[Holder, ...]]:
    """Everything behind the id. The same process asks again and again, so the same bytes come."""
    outcome, executables, holders = _ANSWER.unpack_from(packet)
    if executables > MAX_EXECUTABLES or holders > MAX_HOLDERS:
        raise MessageError(f"{executables} executables and {holders} holders")
    at = _ANSWER.size
    paths = []
    for _ in range(executables):
        (length,) = _LENGTH.unpack_from(packet, at)
        at += _LENGTH.size
        path = packet[at : at + length]
        if len(path) != length or not 0 < length <= MAX_PATH or b"\0" in path:
            raise MessageError("a path that is none")
        paths.append(path)
        at += length
    found = []
    for _ in range(holders):
        pid, start_time, executable, count = _HOLDER.unpack_from(packet, at)
        at += _HOLDER.size
        ancestors = tuple(packet[at : at + count])
        at += count
        if count > MAX_ANCESTORS or len(ancestors) != count:
            raise MessageError("ancestors that are not there")
        if any(index >= executables for index in (executable, *ancestors)):
            raise MessageError("a program that is not in the list")
        found.append(
            Holder(pid=pid, start_time=start_time, executable=executable, ancestors=ancestors)
        )
    if at != len(packet) or (outcome == Outcome.FOUND.value) != bool(found):
        raise MessageError("the parts do not add up")
    return Outcome(outcome), tuple(paths), tuple(found)
