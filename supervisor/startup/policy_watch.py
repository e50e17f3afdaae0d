"""A live policy: notice a change, load it aside, hand it to egress; the last good one stays.

A ConfigMap changes by swapping a symlink in the file's directory, so the directory is watched, not
the file. SIGHUP asks for the same. The file is read and parsed by the same unprivileged child and
under the same trust rules as at the start; nothing of it is ever half in force.
"""

import os
import signal
from collections.abc import Callable

from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.vocabulary import Finding, PolicyNeedsRestart, PolicyRejected, Severity, Why
from supervisor.kernel import inotify
from supervisor.monitor.child_answer import ChildAnswer
from supervisor.monitor.loop import Loop
from supervisor.startup import codes
from supervisor.startup.forked import ANSWER_BYTES, DEADLINE_S, be_unprivileged
from supervisor.startup.policy import LoadedPolicy, accept, load_to_wire
from supervisor.startup.policy_file import read_policy

# A ConfigMap update and most editors make several changes in a row: look once they are over.
SETTLE_S = 0.2
STATIC_PARTS = ("filesystem", "landlock", "process", "supervisor")


class PolicyWatch:
    """Watches one policy file. A Keeper of the monitor's loop."""

    def __init__(
        self,
        path: str,
        *,
        from_image: bool,
        sees_programs: bool,
        loaded: LoadedPolicy,
        use: Callable[[LoadedPolicy], object],
        generation: Callable[[], int],
        loop: Loop,
        log: Log,
    ) -> None:
        self._path = path
        self._from_image = from_image
        self._sees_programs = sees_programs
        self._loaded = loaded
        self._use = use
        self._generation = generation
        self._loop = loop
        self._log = log
        self._child: ChildAnswer | None = None
        self._due: float | None = None
        self._gives_up: float | None = None
        self._inotify = inotify.inotify_init1()

    def start(self) -> None:
        """From now on changes are noticed. Raises SyscallError where the directory is gone."""
        directory = os.path.dirname(os.path.abspath(self._path))
        inotify.inotify_add_watch(self._inotify, directory)
        self._loop.watch(self._inotify, self._on_change)
        self._loop.take_signal(signal.SIGHUP, self.look_soon)
        self._loop.keep(self)

    def look_soon(self) -> None:
        """Load the file once it has settled."""
        import time

        self._due = time.monotonic() + SETTLE_S

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset() if self._child is None else frozenset({self._child.pid})

    def deadline(self) -> float | None:
        """See Keeper."""
        due = [time for time in (self._due, self._gives_up) if time is not None]
        return min(due, default=None)

    def on_time(self, now: float) -> None:
        """See Keeper."""
        if self._gives_up is not None and now >= self._gives_up and self._child is not None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._gives_up = None
        if self._due is not None and now >= self._due and self._child is None:
            self._due = None
            self._load(now)

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""

    def _on_change(self) -> None:
        inotify.drain(self._inotify)
        self.look_soon()

    def _load(self, now: float) -> None:
        try:
            text = read_policy(self._path, from_image=self._from_image)
        except Refusal as refusal:
            self._rejected(refusal)
            return

        def load() -> bytes:
            return load_to_wire(text, self._path, sees_programs=self._sees_programs)

        try:
            self._child = ChildAnswer(lambda end: be_unprivileged(load, end), limit=ANSWER_BYTES)
        except OSError as error:  # no descriptor, no process: the last good policy stays
            self._rejected(Refusal(codes.POLICY_LOADER, f"{self._path}: {error}"))
            return
        self._gives_up = now + DEADLINE_S
        self._loop.watch(self._child.descriptor, self._on_answer)

    def _on_answer(self) -> None:
        child = self._child
        if child is None:
            return
        try:
            if not child.read():
                return
            loaded = accept(child.answer, self._path)
        except Refusal as refusal:
            self._rejected(refusal)
        except ValueError as error:
            os.kill(child.pid, signal.SIGKILL)
            self._rejected(Refusal(codes.POLICY_LOADER, f"{self._path}: {error}"))
        else:
            self._take(loaded)
        self._loop.unwatch(child.descriptor)
        os.close(child.descriptor)
        self._child, self._gives_up = None, None

    def _take(self, loaded: LoadedPolicy) -> None:
        changed = changed_parts(self._loaded.static, loaded.static)
        if changed:
            self._log.emit(PolicyNeedsRestart(sections=tuple(changed)))
        if loaded.static.not_enforced:
            cause = "; ".join(map(str, loaded.static.not_enforced))
            self._rejected(Refusal(codes.NOT_ENFORCED, cause))
        elif loaded.whole != self._loaded.whole:
            if loaded.notes:
                self._tell_links(loaded.notes)
            self._loaded = self._loaded._replace(whole=loaded.whole)
            self._use(loaded)

    def _tell_links(self, notes: tuple[str, ...]) -> None:
        why = Why.of(codes.LINK_NOT_FOLLOWED, "; ".join(notes))
        title = "a listed program is a link that is not followed"
        self._log.emit(Finding(title=title, severity=Severity.LOW, why=why))

    def _rejected(self, refusal: Refusal) -> None:
        why = Why.refused(refusal)
        self._log.emit(PolicyRejected(generation=self._generation(), why=why))


def changed_parts(old: Policy, new: Policy) -> list[str]:
    """The static sections that differ: they hold from the start of the workload to its end."""
    return [name for name in STATIC_PARTS if getattr(old, name) != getattr(new, name)]
