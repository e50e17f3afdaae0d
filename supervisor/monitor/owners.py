"""Which processes hold a socket: the monitor's answer to egress, in slices of a few milliseconds.

The question is an inode that the kernel named (sock_diag); the answer is *every* process with a
descriptor of it, each with its start time, its executable opened, and its ancestors'. A descriptor
may be in several processes (fork, SCM_RIGHTS), so a search always looks at all of them: what it
costs is the descriptors of the sandbox, 2.4 µs each. All questions that wait share one search, which
begins after the last of them was asked, so that a burst of connections costs little more than one.
Nothing is parsed but ``/proc`` and 20 fixed bytes of a question.

What is told is what was there at one moment: this program had this descriptor. Who connects and
then executes another program gives the connection to that one, as with any other descriptor; the
kernel does not remember who opened a socket. A descriptor that was sent over a unix socket and not yet
received is in no process' table, nor is one closed under a call that waits on it: these are not seen.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

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
BUDGET_S = (
    0.050  # of CPU, one search in all; over it its connections are denied with their own code
)
# A look that meets a process about to execute (nobody may look into a launch between its change of
# user and its program), or one that passes the socket on and ends, is repeated after so long.
AGAIN_AFTER_S = (0.002, 0.006, 0.014, 0.028)
QUEUED = MAX_QUESTIONS  # that wait; egress asks no more at once
DESCRIPTORS_PER_STEP = 256  # between two looks at the clock
# At one process, while descriptors that it had go away under the look: a busy one loses one in
# every tenth look, so this many in a row are no accident.
LOOKS_AT_ONE = 4
# Of these, so many that show less than the kernel counts are enough. A call that waits (accept(2) in
# a thread, open(2) of a FIFO) has reserved its number already, so every server may look like that for
# as long as it runs; a descriptor that moves would have to be missed by two listings in each of them.
LOOKS_AT_FEWER = 3
LOOK_EVERY_S = 0.001  # at the clock of CPU time, which costs as much as two descriptors
# A search this long that had several questions was one of a burst: the next begins as long after
# it as it took, with the questions that came meanwhile. So each costs less, and a workload of many
# processes leaves the monitor half of its time.
LONG_S = 0.001


class _Problem(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Found(NamedTuple):
    """An answer and the opened executables that go with it, which stay open until the next one."""

    answer: Answer
    descriptors: tuple[int, ...] = ()


class _Held(NamedTuple):
    """A process, and which of its descriptors is the socket."""

    pid: int
    descriptor: str


@dataclass(slots=True, eq=False)
class _Asked:
    """A question, when it is looked for again, and what the search has found of it."""

    question: Question
    due: float = 0.0
    looks: int = 0
    spent_s: float = 0.0
    holders: list[_Held] = field(default_factory=list)
    is_unreadable: bool = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the holders."""
        return tuple(held.pid for held in self.holders)


class _Seen(Enum):
    """Of a process' descriptors. A table that is empty may be one that is being given up; so may one
    that changes while we look, or the socket moves about in it.
    """

    ALL = "all"
    PART = "part"
    FEWER = "fewer"  # it stood still, but more numbers are in use than are shown
    NOTHING = "nothing"


# By what a descriptor's link says.
_Wanted = dict[str, list[_Asked]]


@dataclass(slots=True)
class _Search:
    """One pass over all processes, for the questions that waited when it began."""

    wanted: _Wanted
    steps: Iterator[None]
    spent_s: float = 0.0
    is_over_budget: bool = False

    @property
    def asked(self) -> list[_Asked]:
        """All questions of it."""
        return [one for several in self.wanted.values() for one in several]


class Owners:
    """Questions that wait, and the search for the ones before them, in slices.

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
        self._waiting: list[_Asked] = []
        self._search: _Search | None = None
        self._rests_until = 0.0

    def deadline(self) -> float | None:
        """The monotonic time at which ``work`` has something to do; in the past: at once."""
        if self._search is not None:
            return 0.0
        if not self._waiting:
            return None
        return max(self._rests_until, min(one.due for one in self._waiting))

    def ask(self, question: Question) -> Found | None:
        """Queue a question; an answer only where the queue is full."""
        searched = 0 if self._search is None else len(self._search.asked)
        if len(self._waiting) + searched >= QUEUED:
            return _problem(question, Outcome.OVER_BUDGET)
        self._waiting.append(_Asked(question))
        return None

    def work(self) -> Iterator[Found]:
        """Search for at most SLICE_S; yields what was answered meanwhile."""
        now = time.monotonic()
        end = now + SLICE_S
        while now < end:
            search = self._search = self._search or self._begin(now)
            if search is None:
                return
            with self._as_workload():
                is_over = _advance(search, end)
            if is_over:
                self._search = None
                yield from self._conclude(search)
            now = time.monotonic()
            if is_over and search.spent_s >= LONG_S and len(search.asked) > 1:
                self._rests_until = now + search.spent_s

    def _begin(self, now: float) -> _Search | None:
        due = [one for one in self._waiting if one.due <= now]
        if not due or now < self._rests_until:
            return None
        self._waiting = [one for one in self._waiting if one.due > now]
        wanted: _Wanted = {}
        for one in due:
            wanted.setdefault(_socket(one.question), []).append(one)
        spent_s = min(one.spent_s for one in due)
        return _Search(wanted, self._look_at_all(wanted), spent_s)

    def _look_at_all(self, wanted: _Wanted) -> Iterator[None]:
        pids = {int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit()}
        # Newest first: of several holders it is usually the one that the others started.
        for pid in sorted(pids - self._ours() - {os.getpid()}, reverse=True):
            yield from _look_at(pid, wanted, self._is_suspect)

    def _conclude(self, search: _Search) -> Iterator[Found]:
        """The answers; who holds several of the sockets is described once."""
        same: dict[tuple[int, ...], list[_Asked]] = {}
        for one in search.asked:
            one.spent_s = search.spent_s
            if search.is_over_budget:
                yield _problem(one.question, Outcome.OVER_BUDGET)
            elif one.is_unreadable:
                yield from self._again(one, Outcome.UNREADABLE)
            else:
                same.setdefault(one.pids, []).append(one)
        for pids, several in same.items():
            with contextlib.closing(_Opened()) as opened:
                with self._as_workload():
                    described = _describe(pids, opened, self._ours() | {0, os.getpid()})
                    is_found = described.outcome is Outcome.FOUND
                    kept = [one for one in several if is_found and _is_still_held(one, opened)]
                for one in kept:
                    answer = described._replace(question_id=one.question.question_id)
                    yield Found(answer, tuple(opened.programs))
            for one in several:
                if one not in kept:
                    outcome = Outcome.VANISHED if is_found else described.outcome
                    yield from self._again(one, outcome)

    def _again(self, one: _Asked, outcome: Outcome) -> Iterator[Found]:
        """Look for it once more, a little later; after the last look, this is the answer."""
        if outcome is Outcome.OVER_BUDGET or one.looks >= len(AGAIN_AFTER_S):
            yield _problem(one.question, outcome)
            return
        one.due = time.monotonic() + AGAIN_AFTER_S[one.looks]
        one.looks += 1
        one.holders.clear()
        one.is_unreadable = False
        self._waiting.append(one)

    def _as_workload(self) -> contextlib.AbstractContextManager[None]:
        return (
            contextlib.nullcontext() if self._workload is None else as_file_owner(*self._workload)
        )

    def _is_suspect(self, pid: int, uid: int) -> bool:
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


def _problem(question: Question, outcome: Outcome) -> Found:
    return Found(Answer(question_id=question.question_id, outcome=outcome))


def _advance(search: _Search, end: float) -> bool:
    """Search until ``end``; whether it is over, because all was seen or its budget is spent."""
    spent = time.thread_time()  # a busy machine is no fault of the workload's
    look = time.monotonic() + LOOK_EVERY_S
    for _ in search.steps:
        now = time.monotonic()
        if now < look:
            continue
        before, spent = spent, time.thread_time()
        search.spent_s += spent - before
        if search.spent_s > BUDGET_S:
            search.is_over_budget = True
            return True
        if now >= end:
            return False
        look = now + LOOK_EVERY_S
    search.spent_s += time.thread_time() - spent
    return True


def _look_at(pid: int, wanted: _Wanted, is_suspect: Callable[[int, int], bool]) -> Iterator[None]:
    """Look through the descriptors of one process; notes it as holder of what it has."""
    held: dict[str, str] = {}
    fewer = 0
    try:
        for left in reversed(range(LOOKS_AT_ONE)):
            seen = yield from _read_links(f"/proc/{pid}/fd", wanted, held)
            fewer += seen is _Seen.FEWER
            if seen is _Seen.ALL or fewer == LOOKS_AT_FEWER:
                return
            if not procfs.has_memory(pid):
                yield from _look_behind(pid, wanted)
                return
            # It moves its descriptors about: the socket may be wherever we do not look.
            if seen is not _Seen.NOTHING and not left:
                _refuse_suspected(pid, wanted, is_suspect)
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended; a process that starts later got the socket from one that we still see
    except PermissionError:
        if not procfs.has_memory(pid):
            yield from _look_behind(pid, wanted)
        else:
            _refuse_suspected(pid, wanted, is_suspect)
    finally:
        for link, descriptor in held.items():
            for one in wanted[link]:
                one.holders.append(_Held(pid, descriptor))


def _read_links(
    directory: str, wanted: _Wanted, held: dict[str, str]
) -> Generator[None, None, _Seen]:
    """Add to ``held`` which of ``wanted`` are among the descriptors in ``directory``, and as what.

    The directory is opened once: every link in it is cheaper then, and of one process. It is listed
    again at the end: one listing can miss a descriptor that moves about, but hardly two.
    """
    table = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listed, is_whole = _list(table)
        is_still = True
        for start in range(0, len(listed), DESCRIPTORS_PER_STEP):
            yield
            for name in listed[start : start + DESCRIPTORS_PER_STEP]:
                try:
                    link = os.readlink(name, dir_fd=table)
                except FileNotFoundError:  # closed since it was listed
                    is_still = False
                    continue
                if link in wanted:
                    held[link] = name
                    if len(held) == len(wanted):
                        return _Seen.ALL  # what else this process has does not matter
        if not listed:
            return _Seen.NOTHING
        again, is_whole_again = _list(table)
        if not is_still or again != listed:
            return _Seen.PART
        return _Seen.ALL if is_whole and is_whole_again else _Seen.FEWER
    finally:
        os.close(table)


def _list(table: int) -> tuple[list[str], bool]:
    """The numbers in use, the latest first, and whether these are all.

    A descriptor that went from behind the listing's back to where it had been already is not among
    them; but how many there are (since Linux 6.2; before that 0) is known.
    """
    names = os.listdir(table)
    names.reverse()  # a new connection is among the last
    return names, os.fstat(table).st_size <= len(names)


def _look_behind(pid: int, wanted: _Wanted) -> Iterator[None]:
    """``/proc/PID`` shows the first thread. Once that has ended the process has no executable and
    no descriptors there, while its other threads go on using theirs. Nothing honest holds a
    connection like that, and to miss one holder would let an allowed program vouch for it.
    """
    for thread in _other_threads(pid):  # each shows the one table: the filter sees to that
        where = f"{pid}/task/{thread}"
        hidden: dict[str, str] = {}
        try:
            yield from _read_links(f"/proc/{where}/fd", wanted, hidden)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # without memory it is ending, too
            if procfs.has_memory(where):
                _refuse(wanted, wanted)
        finally:
            _refuse(wanted, hidden)


def _refuse_suspected(pid: int, wanted: _Wanted, is_suspect: Callable[[int, int], bool]) -> None:
    """It could not be looked at. A kernel thread or another container's process is no suspect:
    nobody gave it a socket of the workload.
    """
    suspected = {one.question.uid for several in wanted.values() for one in several}
    _refuse(wanted, wanted, {uid for uid in suspected if is_suspect(pid, uid)})


def _refuse(wanted: _Wanted, links: Iterable[str], uids: Collection[int] | None = None) -> None:
    """Who holds these sockets cannot be known; with ``uids``, only those that they made."""
    for link in links:
        for one in wanted[link]:
            if uids is None or one.question.uid in uids:
                one.is_unreadable = True


def _other_threads(pid: int) -> list[str]:
    try:
        return [name for name in os.listdir(f"/proc/{pid}/task") if name != str(pid)]
    except OSError:
        return []  # it ended meanwhile


def _socket(question: Question) -> str:
    """What a descriptor's link says where it is the socket: proc(5), /proc/pid/fd."""
    return f"socket:[{question.inode}]"


def _is_below_us(pid: int) -> bool:
    return pid in procfs.descendants(os.getpid(), procfs.parents())


def _describe(pids: tuple[int, ...], opened: "_Opened", beyond: frozenset[int]) -> Answer:
    """The answer to a question that has no number yet."""
    if not pids:
        return Answer(question_id=0, outcome=Outcome.VANISHED)
    if len(pids) > MAX_HOLDERS:
        return Answer(question_id=0, outcome=Outcome.OVER_BUDGET)
    try:
        holders = tuple(_holder(pid, opened, beyond) for pid in pids)
    except (OSError, ValueError, _Problem) as error:
        return Answer(question_id=0, outcome=_outcome_of(error))
    return Answer(
        question_id=0,
        outcome=Outcome.FOUND,
        executables=tuple(opened.paths),
        holders=holders,
    )


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, _Problem):
        return error.outcome
    gone = isinstance(error, FileNotFoundError | ProcessLookupError)
    return Outcome.VANISHED if gone else Outcome.UNREADABLE


def _is_still_held(one: _Asked, opened: "_Opened") -> bool:
    """No if a holder executed, between being found and having its program opened, another
    program, which does not have the socket; or is another process by now than the one found.
    """
    wanted = _socket(one.question)
    try:
        return all(
            os.readlink(f"fd/{held.descriptor}", dir_fd=opened.holders[held.pid]) == wanted
            for held in one.holders
        )
    except OSError:  # closed, or it ended, or nobody may look any more
        return False


class _Opened:
    """What is open for one answer: the holders, and each program, once, in the order of ``paths``."""

    def __init__(self) -> None:
        self.holders: dict[int, int] = {}  # by pid: the directory below /proc
        self.paths: list[bytes] = []
        self.programs: list[int] = []

    def program_of(self, process: int) -> int:
        """Open what a process runs (the file itself, whatever its name is by now); its number."""
        descriptor = os.open("exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        # Of what was opened: the process may run something else by now.
        path = os.readlink(f"/proc/self/fd/{descriptor}".encode())
        for number, known in enumerate(self.paths):
            if known == path and os.path.sameopenfile(self.programs[number], descriptor):
                os.close(descriptor)
                return number
        if len(self.paths) >= MAX_EXECUTABLES:
            os.close(descriptor)
            raise _Problem(Outcome.OVER_BUDGET)
        self.paths.append(path)
        self.programs.append(descriptor)
        return len(self.paths) - 1

    def close(self) -> None:
        """Give everything back."""
        for descriptor in (*self.programs, *self.holders.values()):
            os.close(descriptor)


def _holder(pid: int, opened: _Opened, beyond: frozenset[int]) -> Holder:
    """``beyond``: processes that are ours; a chain of ancestors ends before them."""
    process = opened.holders[pid] = procfs.open_process(pid)
    start_time, parent = procfs.start_and_parent_of(process)
    executable = opened.program_of(process)
    ancestors: list[int] = []
    while parent not in beyond:
        if len(ancestors) >= MAX_ANCESTORS:
            raise _Problem(Outcome.OVER_BUDGET)
        program, parent = _ancestor(parent, opened)
        ancestors.append(program)
    return Holder(pid=pid, start_time=start_time, executable=executable, ancestors=tuple(ancestors))


def _ancestor(pid: int, opened: _Opened) -> tuple[int, int]:
    """Which program it runs, and its own parent."""
    process = procfs.open_process(pid)
    try:
        return opened.program_of(process), procfs.start_and_parent_of(process)[1]
    finally:
        os.close(process)
