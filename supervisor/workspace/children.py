"""A forked child that does one thing and answers with JSON, or with the refusal it met.

The preparation runs where there is one thread, so forking and going on in Python is sound.
"""

import os
import select
import signal
from collections.abc import Callable
from typing import Any, NoReturn, Self

from supervisor.errors import Refusal, in_short
from supervisor.workspace import codes
from supervisor.workspace.ownership import system_refusal

# An answer holds counts and at most a few dozen names; more is not one of ours.
ANSWER_BYTES = 1 << 20

# After SIGKILL a child is gone at once unless the kernel is stuck in a file system (state D).
# Then waiting longer helps nobody: the refusal goes out and the reaper collects it later.
KILLED_CHILD_S = 1.0


class Child:
    """A running child. Leaving the context without an answer kills it."""

    def __init__(self, work: Callable[[], dict[str, Any]], what: str) -> None:
        """Fork and do ``work`` in the child; ``what`` names it in a refusal."""
        import json  # noqa: F401 - before the fork: as another uid the child may not read it

        self.what = what
        self.answer_fd, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _work_and_exit(work, write_end)
        os.close(write_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.answer_fd)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(KILLED_CHILD_S)

    def answer(self, within_s: float) -> dict[str, Any]:
        """Return what the work returned. Raises the Refusal that it met, or our own."""
        text = b""
        while block := self._read(within_s):
            text += block
            if len(text) > ANSWER_BYTES:
                raise Refusal(codes.WORKER_DIED, f"{self.what}: an answer of over 1 MiB")
        status = self._reap(KILLED_CHILD_S)
        if not text:
            raise Refusal(codes.WORKER_DIED, f"{self.what}: ended with {status}, no answer")
        import json

        answer: dict[str, Any] = json.loads(text)
        if "refusal" in answer:
            name, cause, remedy = answer["refusal"]
            raise Refusal(codes.by_name(name), cause, remedy)
        return answer

    def _read(self, within_s: float) -> bytes:
        if not select.select([self.answer_fd], [], [], within_s)[0]:
            raise Refusal(codes.DEADLINE, f"{self.what}: no answer within {within_s:.1f} s")
        return os.read(self.answer_fd, ANSWER_BYTES)

    def _reap(self, within_s: float) -> str:
        """Wait for the end; return how it ended, for people."""
        pidfd = os.pidfd_open(self.pid)
        try:
            if not select.select([pidfd], [], [], within_s)[0]:
                return "nothing yet"
        finally:
            os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return f"signal {-status}" if status < 0 else f"status {status}"


def _work_and_exit(work: Callable[[], dict[str, Any]], write_end: int) -> NoReturn:
    """In the child: whatever happens, nothing of the caller's code runs twice."""
    import json

    status = 1
    try:
        text = json.dumps(_outcome(work)).encode()
        while text:
            text = text[os.write(write_end, text) :]
        status = 0
    finally:  # without an answer the parent refuses
        os._exit(status)


def _outcome(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except OSError as error:
        refusal = system_refusal(error, "helper")
    except Refusal as met:
        refusal = met
    except Exception as error:  # noqa: BLE001 - a refusal in the parent, with its place
        refusal = Refusal(codes.WORKER_DIED, in_short(error))
    return {"refusal": [refusal.code.name, refusal.cause, refusal.remedy]}
