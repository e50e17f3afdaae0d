"""Fork, confine, exec, and know for certain which of them went wrong.

The parent is single-threaded, so the child may run Python between fork and exec. What goes wrong
there travels over a close-on-exec pipe: "a step failed", "exec failed" and "running" are three
different answers, never a guess.
"""

import errno
import os
import select
import signal
import time
from typing import NoReturn

from supervisor.errors import Refusal
from supervisor.kernel.libc import SyscallError
from supervisor.monitor import codes
from supervisor.monitor.spec import Launch
from supervisor.monitor.steps import STEPS, Failed

LAUNCH_DEADLINE_S = 30.0  # an exec from a cold network volume may take seconds, not minutes
RECORD_BYTES = 4096  # one failure record: a step, a number and a sentence
READY = b"R\n"
NO_WORD = b"F\nstart\n0\nno word"
CHILD_FAILED_STATUS = 125


def launch(what: Launch) -> int:
    """Start ``what``; return its pid once it runs. Raises Refusal with one of ``launch.*``."""
    status_read, status_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(what, status_write)
    os.close(status_write)
    try:
        failure = _await_exec(status_read)
    finally:
        os.close(status_read)
    if failure is None:
        return pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise _refusal(failure, what)


def _child(what: Launch, status: int) -> NoReturn:
    name = "start"
    try:
        for step in STEPS:
            name = step.name
            step.act(what)
        name = "exec"
        os.write(status, READY)
        os.execvpe(what.argv[0], what.argv, what.environment)  # noqa: S606 - the point of it all
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind further
        number = error.errno if isinstance(error, OSError) and error.errno else 0
        text = str(error) if isinstance(error, SyscallError | Failed) else repr(error)
        record = f"F\n{name}\n{number}\n{text}".encode("utf-8", "backslashreplace")
        os.write(status, record[:RECORD_BYTES])
    os._exit(CHILD_FAILED_STATUS)


def _await_exec(status: int) -> bytes | None:
    """None once the program runs, else a failure record; b"" when nothing came in time."""
    end = time.monotonic() + LAUNCH_DEADLINE_S
    said = b""
    poll = select.poll()
    poll.register(status, select.POLLIN | select.POLLHUP)
    while (left := end - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        block = os.read(status, RECORD_BYTES)
        if not block:
            # exec closed the pipe if READY was the last word; otherwise the child ended.
            return None if said == READY else said.removeprefix(READY) or NO_WORD
        said += block
    return b""


def _refusal(record: bytes, what: Launch) -> Refusal:
    if not record:
        return Refusal(codes.TIMED_OUT, f"no exec of {what.argv[0]!r} in {LAUNCH_DEADLINE_S} s")
    if record == NO_WORD:
        return Refusal(codes.DIED, f"the child for {what.argv[0]!r} died during set-up")
    _, step, number, text = record.decode("utf-8", "replace").split("\n", 3)
    if step == "exec":
        missing = int(number) in (errno.ENOENT, errno.ENOTDIR)
        code = codes.NOT_FOUND if missing else codes.NOT_EXECUTABLE
        return Refusal(code, f"{what.argv[0]!r}: {os.strerror(int(number))}")
    if step == "read-back":
        regained = text.startswith("root regained")
        return Refusal(codes.ROOT_REGAINED if regained else codes.READ_BACK, text)
    return Refusal(codes.SETUP_FAILED, f"step '{step}': {text}")
