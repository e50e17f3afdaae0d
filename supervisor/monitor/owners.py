"""Which processes hold a socket: the monitor's answer to egress, in slices of a few milliseconds.

The question is an inode that the kernel named (sock_diag); the answer is *every* process with a
descriptor of it, each with its start time, its executable opened, and its ancestors'. A descriptor
may be in several processes (fork, SCM_RIGHTS), so a hint only says where to look first and a search
always looks at all of them. Nothing is parsed but ``/proc`` and 20 fixed bytes of a question.

What is told is what was there at one moment: this program had this descriptor. Who connects and
then executes another program gives the connection to that one, as with any other descriptor; the
kernel does not remember who opened a socket.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from supervisor.egress.owner_messages import (
    MAX_ANCESTORS,
    MAX_EXECUTABLES,
    MAX_HOLDERS,
    Answer,
    Holder,
    Outcome,
    Question,
)
from supervisor.kernel import procfs
from supervisor.kernel.ids import as_file_owner

SLICE_S = 0.005  # one turn of the monitor's loop
BUDGET_S = 0.050  # of CPU, one question in all; over it the connection is denied with its own code
# A look that meets a process about to execute (nobody may look into a launch between its change of
# user and its program), or one that passes the socket on and ends, is repeated after so long.
AGAIN_AFTER_S = (0.002, 0.006, 0.014, 0.028)
QUEUED = 64  # questions that wait; egress asks no more at once
DESCRIPTORS_PER_STEP = 256  # between two looks at the clock


class _Problem(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and the opened executables that go with it; the caller closes them."""

    answer: Answer
    descriptors: tuple[int, ...] = ()


class _Held(NamedTuple):
    """A process, and the descriptor below ``/proc`` that is the socket."""

    pid: int
    link: str


@dataclass(slots=True, eq=False)
class _Work:
    question: Question
    steps: Iterator[None]
    spent_s: float = 0.0
    due: float = 0.0
    looks: int = 0
    holders: list[_Held] = field(default_factory=list)


class Owners:
    """A queue of questions, worked off in slices.

    ``workload`` is its (uid, gid) where ours are others: it owns the processes to look into.
    ``ours`` are processes of the supervisor: egress holds the other end of every connection.
    """

    def __init__(
        self,
        *,
        workload: tuple[int, int] | None = None,
        ours: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        self._workload = workload
        self._queue: deque[_Work] = deque()
        self._ours = ours
        self._last_holder = 0

    def deadline(self) -> float | None:
        """The monotonic time at which ``work`` has something to do; in the past: at once."""
        return min((work.due for work in self._queue), default=None)

    def ask(self, question: Question) -> Found | None:
        """Queue a question; an answer only where the queue is full."""
        if len(self._queue) >= QUEUED:
            return _over_budget(question)
        work = _Work(question=question, steps=iter(()))
        work.steps = self._search(work)
        self._queue.append(work)
        return None

    def work(self) -> Iterator[Found]:
        """Search for at most SLICE_S; yields what was answered meanwhile."""
        now = time.monotonic()
        end = now + SLICE_S
        while now < end:
            work = next((work for work in self._queue if work.due <= now), None)
            if work is None:
                return
            with (
                contextlib.nullcontext()
                if self._workload is None
                else as_file_owner(*self._workload)
            ):
                found = self._advance(work)
            if found is not None:
                self._queue.remove(work)
                yield found
            now = time.monotonic()

    def _search(self, work: _Work) -> Iterator[None]:
        wanted = _socket(work.question)
        for pid in self._candidates():
            is_suspect = partial(self._is_suspect, uid=work.question.uid)
            yield from _holds(pid, wanted, work.holders, is_suspect)
            if work.holders and work.holders[-1].pid == pid:
                self._last_holder = pid

    def _candidates(self) -> list[int]:
        pids = [int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit()]
        ours = self._ours() | {os.getpid()}
        kept = [pid for pid in pids if pid not in ours]
        # Programs open connections in series: whoever had the last one is looked at first, so that
        # an over-long search at least knows one holder. All the others are looked at just the same.
        kept.sort(key=lambda pid: (pid != self._last_holder, -pid))
        return kept

    def _is_suspect(self, pid: int, *, uid: int) -> bool:
        """Whether a process that cannot be looked at may hold a socket that ``uid`` made: one of
        that uid, wherever it is, and one below us unless it has another user than the workload:
        the init of its process namespace, a launch before it drops.
        """
        try:
            uids = procfs.read_status(pid).uids
        except (FileNotFoundError, ProcessLookupError):
            return False  # it ended
        except (OSError, ValueError):
            return _is_below_us(pid)
        if uid in uids:
            return True
        return _is_below_us(pid) and (self._workload is None or uids[0] == self._workload[0])

    def _advance(self, work: _Work) -> Found | None:
        """One step of a search; its answer once it has ended."""
        started = time.thread_time()  # a busy machine is no fault of the workload's
        try:
            for _ in work.steps:
                work.spent_s += time.thread_time() - started
                return None if work.spent_s <= BUDGET_S else _over_budget(work.question)
            return _describe(work.question, work.holders, self._ours() | {0, os.getpid()})
        except _Problem as problem:
            work.spent_s += time.thread_time() - started
            if problem.outcome is Outcome.OVER_BUDGET or work.looks >= len(AGAIN_AFTER_S):
                return Found(_problem(work.question, problem.outcome))
            self._look_again(work)
            return None

    def _look_again(self, work: _Work) -> None:
        work.due = time.monotonic() + AGAIN_AFTER_S[work.looks]
        work.looks += 1
        work.holders.clear()
        work.steps = self._search(work)


def _problem(question: Question, outcome: Outcome) -> Answer:
    return Answer(question_id=question.question_id, outcome=outcome)


def _over_budget(question: Question) -> Found:
    return Found(_problem(question, Outcome.OVER_BUDGET))


def _holds(
    pid: int, wanted: str, holders: list[_Held], is_suspect: Callable[[int], bool]
) -> Iterator[None]:
    """Look through the descriptors of one process; adds it to ``holders`` if it has the socket."""
    try:
        link = yield from _find(f"/proc/{pid}/fd", wanted)
        if link is not None:
            holders.append(_Held(pid, link))
        elif not procfs.has_memory(pid):
            yield from _refuse_hidden(pid, wanted)
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended; a process that starts later got the socket from one that we still see
    except PermissionError:
        if not procfs.has_memory(pid):
            yield from _refuse_hidden(pid, wanted)
        elif is_suspect(pid):
            raise _Problem(Outcome.UNREADABLE) from None
        # A kernel thread or another container's process: nobody gave it a socket of the workload.


def _find(directory: str, wanted: str) -> Generator[None, None, str | None]:
    """The path of a descriptor in ``directory`` that is ``wanted``."""
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if number % DESCRIPTORS_PER_STEP == 0:
                yield
            if _link(f"{directory}/{entry.name}") == wanted:
                return f"{directory}/{entry.name}"
    return None


def _refuse_hidden(pid: int, wanted: str) -> Iterator[None]:
    """``/proc/PID`` shows the first thread. Once that has ended the process has no executable and
    no descriptors there, while its other threads go on using theirs. Nothing honest holds a
    connection like that, and to miss one holder would let an allowed program vouch for it.
    """
    for thread in _other_threads(pid):  # each shows the one table: the filter sees to that
        where = f"{pid}/task/{thread}"
        try:
            hidden = (yield from _find(f"/proc/{where}/fd", wanted)) is not None
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            hidden = procfs.has_memory(where)  # without memory it is ending, too
        if hidden:
            raise _Problem(Outcome.UNREADABLE)


def _other_threads(pid: int) -> list[str]:
    try:
        return [name for name in os.listdir(f"/proc/{pid}/task") if name != str(pid)]
    except OSError:
        return []  # it ended meanwhile


def _socket(question: Question) -> str:
    """What a descriptor's link says where it is the socket: proc(5), /proc/pid/fd."""
    return f"socket:[{question.inode}]"


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None  # closed since it was listed


def _is_below_us(pid: int) -> bool:
    return pid in procfs.descendants(os.getpid(), procfs.parents())


def _describe(question: Question, found: list[_Held], beyond: frozenset[int]) -> Found:
    if not found:
        raise _Problem(Outcome.VANISHED)
    if len(found) > MAX_HOLDERS:
        raise _Problem(Outcome.OVER_BUDGET)
    programs = _Programs()
    try:
        holders = tuple(_holder(held.pid, programs, beyond) for held in found)
        _require_still_held(question, found)
    except (OSError, ValueError, _Problem) as error:
        programs.close()
        if isinstance(error, _Problem):
            raise
        gone = isinstance(error, FileNotFoundError | ProcessLookupError)
        raise _Problem(Outcome.VANISHED if gone else Outcome.UNREADABLE) from error
    answer = Answer(
        question_id=question.question_id,
        outcome=Outcome.FOUND,
        executables=tuple(programs.paths),
        holders=holders,
    )
    return Found(answer, tuple(programs.descriptors))


def _require_still_held(question: Question, found: list[_Held]) -> None:
    """Refuse if a holder executed, between being found and having its program opened, another
    program, which does not have the socket.
    """
    wanted = _socket(question)
    if any(_link(held.link) != wanted for held in found):
        raise _Problem(Outcome.VANISHED)


class _Programs:
    """Executables by path, each opened once."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.descriptors: list[int] = []

    def index(self, pid: int) -> int:
        """Open ``/proc/PID/exe`` (the file itself, whatever its name is by now); its number."""
        link = f"/proc/{pid}/exe"
        descriptor = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        path = os.readlink(os.fsencode(link))
        for number, known in enumerate(self.paths):
            if known == path and os.path.sameopenfile(self.descriptors[number], descriptor):
                os.close(descriptor)
                return number
        if len(self.paths) >= MAX_EXECUTABLES:
            os.close(descriptor)
            raise _Problem(Outcome.OVER_BUDGET)
        self.paths.append(path)
        self.descriptors.append(descriptor)
        return len(self.paths) - 1

    def close(self) -> None:
        """Give the descriptors up: there will be no answer."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def _holder(pid: int, programs: _Programs, beyond: frozenset[int]) -> Holder:
    """``beyond``: processes that are ours; a chain of ancestors ends before them."""
    start_time, parent = procfs.read_start_and_parent(pid)
    executable = programs.index(pid)
    ancestors: list[int] = []
    while parent not in beyond:
        if len(ancestors) >= MAX_ANCESTORS:
            raise _Problem(Outcome.OVER_BUDGET)
        ancestors.append(programs.index(parent))
        parent = procfs.read_start_and_parent(parent)[1]
    if procfs.read_start_and_parent(pid)[0] != start_time:
        raise _Problem(Outcome.VANISHED)  # the pid is somebody else's by now
    return Holder(pid=pid, start_time=start_time, executable=executable, ancestors=tuple(ancestors))
