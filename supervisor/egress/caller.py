"""Which programs hold a connection: the kernel names the socket, the monitor its processes.

Egress asks sock_diag for the inode (5 µs, no privilege), the monitor for the processes behind it
(which takes privilege), and hashes their executables itself, in a thread, once for each file. All
holders count: policy must allow every one of them. Whatever stays unknown is a problem that
policy answers with a denial of its own code.
"""

import array
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from policy.intent import Caller, CallerProblem
from supervisor.egress.executables import Digests, FileIdentity, digest_of, identify
from supervisor.egress.owner_messages import (
    MAX_ANSWER,
    MAX_EXECUTABLES,
    MAX_QUESTIONS,
    REMEMBERED,
    Answer,
    Holder,
    Outcome,
    Question,
    decode_answer,
    encode_questions,
)
from supervisor.egress.poller import LEVEL_IN, Poller
from supervisor.kernel.netlink_exact import NetlinkExact
from supervisor.kernel.sock_diag import End, SocketOwner, find_tcp
from supervisor.kernel.tcp_info import CLOSE_WAIT, ESTABLISHED, tcp_state

if TYPE_CHECKING:
    import asyncio

    from supervisor.egress.sockets import Socket

# What the monitor queues (decision 24).
MAX_PENDING = MAX_QUESTIONS
# The rest of a burst waits here, in its order: as many as a listener's queue holds, 300 bytes each.
MAX_HELD_BACK = 4096
# And so long; a client gives up after 10 to 30 s and should hear why before that.
HELD_BACK_S = 8.0
# Once asked: the monitor gives itself 50 ms for each of 64 questions; hashing 1 GB takes 2 s.
PATIENCE_S = 5.0

# The states of our end in which the client still has its own: it closed neither way, or one.
_HELD_OPEN = (ESTABLISHED, CLOSE_WAIT)

_ROOM = socket.CMSG_SPACE(MAX_EXECUTABLES * array.array("i").itemsize)
_CUT = int(socket.MSG_CTRUNC)  # as a number: the enumeration's own & takes 2 µs
_PROBLEMS = {
    Outcome.VANISHED: CallerProblem.VANISHED,
    Outcome.UNREADABLE: CallerProblem.UNREADABLE,
    Outcome.OVER_BUDGET: CallerProblem.OVER_BUDGET,
}


class Callers(NamedTuple):
    """Every process that holds the connection, never none; ``pids`` in the same order, for events."""

    callers: tuple[Caller, ...]
    pids: tuple[int, ...] = ()


Done = Callable[[Callers], None]


class _HeldBack(NamedTuple):
    """One connection whose owner will be asked for."""

    owner: SocketOwner
    done: Done
    until: float


@dataclass(slots=True)
class _Search:
    """One connection whose owner is being looked for."""

    done: Done
    until: float
    answer: Answer | None = None
    digests: list[str | None] = field(default_factory=list)
    unhashed: int = 0


class AnyCaller:
    """Where programs cannot be told apart: nobody is asked, and the policy admits everybody."""

    def find(self, _local: End, _remote: End, _connection: "Socket | None", done: Done) -> None:
        """As CallerFinder's; answers at once."""
        done(Callers(callers=(Caller(),)))

    def sweep(self) -> None:
        """Nothing waits."""


class CallerFinder:
    """Asks; ``channel`` is the SOCK_SEQPACKET to the monitor, ``diag`` made beside the workload."""

    def __init__(
        self,
        *,
        poller: Poller,
        channel: socket.socket,
        diag: NetlinkExact,
        loop: "asyncio.AbstractEventLoop",
        hashers: Executor,
    ) -> None:
        self._poller = poller
        self._channel = channel
        self._diag = diag
        self._loop = loop
        self._hashers = hashers
        self._memory = Digests()
        self._searches: dict[int, _Search] = {}
        self._unanswered: set[int] = set()  # of the searches, those that the monitor is at
        self._held_back: deque[_HeldBack] = deque()
        self._hashing: dict[FileIdentity, list[Callable[[str | None], None]]] = {}
        self._last_id = 0
        # The same programs ask again and again; what follows from a digest never changes.
        self._conclude = lru_cache(REMEMBERED)(self._conclusion)
        self._packet = bytearray(MAX_ANSWER)
        channel.setblocking(False)
        poller.add(channel.fileno(), self._answered, LEVEL_IN)

    def find(self, local: End, remote: End, connection: "Socket | None", done: Done) -> None:
        """Who holds the socket whose own end is ``local`` and whose peer is ``remote``?

        ``connection`` is our end of it, None once closed; ``done`` is called once, at once or
        later. As long as the caller keeps its end open, no other socket can have these two ends, so
        one look is enough; whether it did is seen at our end, after the look. What was said before
        a reset can still be read, and the port is free for another program.
        """
        try:
            owner = self._owner(local, remote, connection)
        except OSError:  # the kernel does not say: as unknown as a socket that is gone
            owner = None
        if owner is None or owner.inode == 0:
            done(_unknown(CallerProblem.VANISHED))
            return
        if len(self._unanswered) + len(self._held_back) >= MAX_PENDING + MAX_HELD_BACK:
            done(_unknown(CallerProblem.OVER_BUDGET))
            return
        self._held_back.append(_HeldBack(owner, done, self._poller.now + HELD_BACK_S))
        if len(self._held_back) == 1:
            self._poller.later(self._ask)  # at the end of this turn, with what else comes up in it

    def _ask(self) -> None:
        """One packet with what is held back, as far as the monitor queues it."""
        room = min(MAX_PENDING - len(self._unanswered), len(self._held_back))
        if not room:
            return
        questions = []
        for _ in range(room):
            owner, done, _ = self._held_back.popleft()
            self._last_id += 1
            self._searches[self._last_id] = _Search(done, self._poller.now + PATIENCE_S)
            questions.append(Question(self._last_id, owner.inode, owner.uid))
        self._unanswered.update(question.question_id for question in questions)
        try:
            self._channel.send(encode_questions(questions))
        except OSError:  # its queue is full, or the monitor is gone and we soon are, too
            for question in questions:
                self._unanswered.discard(question.question_id)
                self._finish(question.question_id, _unknown(CallerProblem.OVER_BUDGET))

    def sweep(self) -> None:
        """Give up what took too long. To be called about once a second."""
        now = self._poller.now
        for number in [n for n, search in self._searches.items() if search.until <= now]:
            self._unanswered.discard(number)
            self._finish(number, _unknown(CallerProblem.OVER_BUDGET))
        while self._held_back and self._held_back[0].until <= now:
            self._held_back.popleft().done(_unknown(CallerProblem.OVER_BUDGET))
        self._ask()

    def _owner(self, local: End, remote: End, connection: "Socket | None") -> SocketOwner | None:
        if connection is None:
            return None
        owner = find_tcp(self._diag, local, remote)
        # In this order: had it been closed by the time of the look, its state would say so.
        return owner if tcp_state(connection) in _HELD_OPEN else None

    def _answered(self, _events: int) -> None:
        packet, descriptors, is_cut = self._receive()
        if not packet:
            # The monitor is gone, and with it the other channel, whose end stops egress.
            self._poller.remove(self._channel.fileno())
            return
        try:
            answer = decode_answer(packet)
            self._unanswered.discard(answer.question_id)
            if self._held_back:
                self._ask()
            search = self._searches.get(answer.question_id)
            if search is None:  # given up in the meantime
                return
            if answer.outcome is not Outcome.FOUND:
                self._finish(answer.question_id, _unknown(_PROBLEMS[answer.outcome]))
                return
            if is_cut:
                self._finish(answer.question_id, _unknown(CallerProblem.OVER_BUDGET))
                return
            search.answer = answer
            self._digest_all(answer, search, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _receive(self) -> tuple[bytes, list[int], bool]:
        """A packet, its descriptors, and whether we are out of them (recvmsg(2), MSG_CTRUNC)."""
        descriptors = array.array("i")
        length, ancillary, flags, _ = self._channel.recvmsg_into(
            [self._packet], _ROOM, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        packet = bytes(memoryview(self._packet)[:length])
        return packet, list(descriptors), flags & _CUT != 0

    def _digest_all(self, answer: Answer, search: _Search, descriptors: list[int]) -> None:
        """Find or compute the digest of each executable; finishes at once where all are known.

        Takes the descriptors that it goes on using out of the list.
        """
        number = answer.question_id
        if len(descriptors) != len(answer.executables):
            self._finish(number, _unknown(CallerProblem.UNREADABLE))
            return
        identities = list(map(identify, descriptors))
        search.digests = list(map(self._memory.known, identities))
        if None not in search.digests:
            self._finish(number, self._conclude_search(search))
            return
        search.unhashed = search.digests.count(None)
        for index, descriptor in enumerate(tuple(descriptors)):
            if search.digests[index] is not None:
                continue
            identity, take = identities[index], self._taker(number, search, index)
            if identity in self._hashing:  # connections that need the same file share one run
                self._hashing[identity].append(take)
            else:
                descriptors.remove(descriptor)  # the thread's, which closes it
                self._hash(identity, descriptor, take)

    def _taker(self, number: int, search: _Search, index: int) -> Callable[[str | None], None]:
        def take(digest: str | None) -> None:
            search.digests[index] = digest
            search.unhashed -= 1
            if search.unhashed == 0 and number in self._searches:
                self._finish(number, self._conclude_search(search))

        return take

    def _hash(
        self, identity: FileIdentity, descriptor: int, take: Callable[[str | None], None]
    ) -> None:
        """Hash in a thread, which takes the descriptor over."""
        self._hashing[identity] = [take]
        running = self._loop.run_in_executor(self._hashers, _hash_and_close, descriptor)
        running.add_done_callback(lambda future: self._hashed(identity, future.result()))

    def _hashed(self, identity: FileIdentity, result: tuple[str, FileIdentity] | None) -> None:
        digest = None
        # A file that was written to while it was read has no digest.
        if result is not None and result[1] == identity:
            digest = result[0]
            self._memory.remember(identity, digest)
        for take in self._hashing.pop(identity):
            take(digest)

    def _conclude_search(self, search: _Search) -> Callers:
        answer = search.answer
        if answer is None:
            return _unknown(CallerProblem.VANISHED)
        digests = tuple(digest for digest in search.digests if digest is not None)
        if len(digests) != len(answer.executables):
            return _unknown(CallerProblem.UNREADABLE)
        return self._conclude(answer.executables, answer.holders, digests)

    def _conclusion(
        self, executables: tuple[bytes, ...], holders: tuple[Holder, ...], digests: tuple[str, ...]
    ) -> Callers:
        """From the answer and the digests to what policy is asked about."""
        same = list(map(self._memory.is_first_or_same, executables, digests))
        paths = [os.fsdecode(path) for path in executables]
        return Callers(
            callers=tuple(_caller(holder, paths, digests, same) for holder in holders),
            pids=tuple(holder.pid for holder in holders),
        )

    def _finish(self, number: int, callers: Callers) -> None:
        self._searches.pop(number).done(callers)


def _caller(holder: Holder, paths: list[str], digests: tuple[str, ...], same: list[bool]) -> Caller:
    programs = (holder.executable, *holder.ancestors)
    return Caller(
        binary=paths[holder.executable],
        ancestors=tuple(paths[index] for index in holder.ancestors),
        digests=tuple(digests[index] for index in programs),
        problem=None if all(same[index] for index in programs) else CallerProblem.CHANGED,
    )


def _unknown(problem: CallerProblem) -> Callers:
    return Callers(callers=(Caller(problem=problem),))


def _hash_and_close(descriptor: int) -> tuple[str, FileIdentity] | None:
    """Runs in a thread: the digest and the identity after reading; None where it cannot be read."""
    try:
        return digest_of(descriptor), identify(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
