"""Which processes hold a socket: the monitor's answer to egress, in slices of a few milliseconds.

The question is an inode that the kernel named (sock_diag); the answer is *every* process with a
descriptor of it, each with its start time, its executable opened, and its ancestors'. A descriptor
may be in several processes (fork, SCM_RIGHTS), so a search always looks at all of them: what it
costs is the descriptors of the sandbox, 4 µs each. All questions that wait share one search, which
begins after the last of them was asked, so that a burst of connections costs little more than one.
Nothing is parsed but ``/proc`` and 20 fixed bytes of a question.
"""

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from supervisor.egress.owner_messages import (
    MAX_ANCESTORS,
    MAX_EXECUTABLES,
    MAX_HOLDERS,
    MAX_QUESTIONS,
    Answer,
    Holder,
    Outcome,
    Question,
)
from supervisor.kernel import procfs
from supervisor.kernel.ids import as_file_owner

SLICE_S = 0.005  # one turn of the monitor's loop
BUDGET_S = 0.050  # one search in all; over it its connections are denied with their own code
QUEUED = MAX_QUESTIONS  # that wait; egress asks no more at once
DESCRIPTORS_PER_STEP = 256  # between two looks at the clock


class _Problem(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and the opened executables that go with it: closed before the next one is made."""

    answer: Answer
    descriptors: tuple[int, ...] = ()


# From what a descriptor's link says to the processes that were found to have it.
_Holders = dict[str, list[int]]


@dataclass(slots=True)
class _Search:
    """One pass over all processes, for the questions that waited when it began."""

    questions: list[Question]
    holders: _Holders
    steps: Iterator[None]
    spent_s: float = 0.0
    unreadable: set[str] = field(default_factory=set)


class Owners:
    """Questions that wait, and the search for the ones before them.

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
        self._ours = ours
        self._waiting: list[Question] = []
        self._search: _Search | None = None

    @property
    def busy(self) -> bool:
        """True while a question waits."""
        return bool(self._waiting) or self._search is not None

    def ask(self, question: Question) -> Found | None:
        """Queue a question; an answer only where the queue is full."""
        searched = 0 if self._search is None else len(self._search.questions)
        if len(self._waiting) + searched >= QUEUED:
            return _problem(Outcome.OVER_BUDGET, question.question_id)
        self._waiting.append(question)
        return None

    def work(self) -> Iterator[Found]:
        """Search for at most SLICE_S; yields what was answered meanwhile."""
        end = time.monotonic() + SLICE_S
        while self.busy and time.monotonic() < end:
            search = self._search = self._search or self._begin()
            with self._as_workload():
                is_over = _advance(search, end)
            if is_over:
                self._search = None
                yield from self._answers(search)

    def _answers(self, search: _Search) -> Iterator[Found]:
        """One for each question; who holds several of the sockets is described once."""
        same: dict[tuple[int, ...], list[int]] = {}
        for question in search.questions:
            link = _link(question)
            if search.spent_s > BUDGET_S:
                yield _problem(Outcome.OVER_BUDGET, question.question_id)
            elif link in search.unreadable:
                yield _problem(Outcome.UNREADABLE, question.question_id)
            else:
                same.setdefault(tuple(search.holders[link]), []).append(question.question_id)
        for pids, numbers in same.items():
            with self._as_workload():
                described = _describe(pids)
            for number in numbers:
                answer = described.answer._replace(question_id=number)
                yield Found(answer, described.descriptors)
            for descriptor in described.descriptors:
                os.close(descriptor)

    def _as_workload(self) -> contextlib.AbstractContextManager[None]:
        return (
            contextlib.nullcontext() if self._workload is None else as_file_owner(*self._workload)
        )

    def _begin(self) -> _Search:
        questions, self._waiting = self._waiting, []
        holders: _Holders = {_link(question): [] for question in questions}
        search = _Search(questions, holders, iter(()))
        search.steps = self._look_at_all(search)
        return search

    def _look_at_all(self, search: _Search) -> Iterator[None]:
        pids = {int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit()}
        # Newest first: of several holders it is usually the one that the others started.
        for pid in sorted(pids - self._ours() - {os.getpid()}, reverse=True):
            yield from _look_at(pid, search, self._is_ours)

    def _is_ours(self, pid: int) -> bool:
        """Whether a process below us has another user than the workload: the init of its process
        namespace, a launch before it drops. The workload cannot have another one.
        """
        try:
            return (
                self._workload is not None and procfs.read_status(pid).uids[0] != self._workload[0]
            )
        except (OSError, ValueError):
            return False


def _link(question: Question) -> str:
    return f"socket:[{question.inode}]"


def _problem(outcome: Outcome, question_id: int = 0) -> Found:
    return Found(Answer(question_id=question_id, outcome=outcome))


def _advance(search: _Search, end: float) -> bool:
    """Search until ``end``; whether it is over, because all was seen or its budget is spent."""
    now = time.monotonic()
    for _ in search.steps:
        before, now = now, time.monotonic()
        search.spent_s += now - before
        if search.spent_s > BUDGET_S:
            return True
        if now >= end:
            return False
    return True


def _look_at(pid: int, search: _Search, is_ours: Callable[[int], bool]) -> Iterator[None]:
    """Look through the descriptors of one process; notes it as holder of what it has."""
    held: set[str] = set()
    try:
        is_whole = yield from _read_links(f"/proc/{pid}/fd", search.holders, held)
        if not is_whole and not procfs.has_memory(pid):
            yield from _look_behind(pid, search)
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended; a process that starts later got the socket from one that we still see
    except PermissionError:
        if not procfs.has_memory(pid):
            yield from _look_behind(pid, search)
        elif _is_below_us(pid) and not is_ours(pid):
            search.unreadable |= search.holders.keys()
        # A kernel thread or another container's process: nobody gave it a socket of the workload.
    finally:
        for link in held:
            search.holders[link].append(pid)


def _read_links(directory: str, wanted: _Holders, held: set[str]) -> Generator[None, None, bool]:
    """Add to ``held`` what of ``wanted`` is among the descriptors in ``directory``.

    Returns whether all were seen: a table that is empty, or loses a descriptor while we look, may
    be one that is being given up.
    """
    names = os.listdir(directory)
    is_whole = bool(names)
    for number, name in enumerate(names):
        if number % DESCRIPTORS_PER_STEP == 0:
            yield
        try:
            link = os.readlink(f"{directory}/{name}")
        except FileNotFoundError:  # closed since it was listed
            is_whole = False
            continue
        if link in wanted:
            held.add(link)
    return is_whole


def _look_behind(pid: int, search: _Search) -> Iterator[None]:
    """``/proc/PID`` shows the first thread. Once that has ended the process has no executable and
    no descriptors there, while its other threads go on using theirs. Nothing honest holds a
    connection like that, and to miss one holder would let an allowed program vouch for it.
    """
    for thread in _other_threads(pid):  # each shows the one table: the filter sees to that
        where = f"{pid}/task/{thread}"
        try:
            yield from _read_links(f"/proc/{where}/fd", search.holders, search.unreadable)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # without memory it is ending, too
            if procfs.has_memory(where):
                search.unreadable |= search.holders.keys()


def _other_threads(pid: int) -> list[str]:
    try:
        return [name for name in os.listdir(f"/proc/{pid}/task") if name != str(pid)]
    except OSError:
        return []  # it ended meanwhile


def _is_below_us(pid: int) -> bool:
    return pid in procfs.descendants(os.getpid(), procfs.parents())


def _describe(pids: tuple[int, ...]) -> Found:
    """The answer to a question that has no number yet."""
    if not pids:
        return _problem(Outcome.VANISHED)
    if len(pids) > MAX_HOLDERS:
        return _problem(Outcome.OVER_BUDGET)
    programs = _Programs()
    try:
        holders = tuple(_holder(pid, programs) for pid in pids)
    except _Problem as problem:
        programs.close()
        return _problem(problem.outcome)
    except (OSError, ValueError) as error:
        programs.close()
        gone = isinstance(error, FileNotFoundError | ProcessLookupError)
        return _problem(Outcome.VANISHED if gone else Outcome.UNREADABLE)
    answer = Answer(
        question_id=0,
        outcome=Outcome.FOUND,
        executables=tuple(programs.paths),
        holders=holders,
    )
    return Found(answer, tuple(programs.descriptors))


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


def _holder(pid: int, programs: _Programs) -> Holder:
    start_time, parent = procfs.read_start_and_parent(pid)
    executable = programs.index(pid)
    ancestors: list[int] = []
    own = os.getpid()
    while parent not in (0, own):
        if len(ancestors) >= MAX_ANCESTORS:
            raise _Problem(Outcome.OVER_BUDGET)
        ancestors.append(programs.index(parent))
        parent = procfs.read_start_and_parent(parent)[1]
    if procfs.read_start_and_parent(pid)[0] != start_time:
        raise _Problem(Outcome.VANISHED)  # the pid is somebody else's by now
    return Holder(pid=pid, start_time=start_time, executable=executable, ancestors=tuple(ancestors))
