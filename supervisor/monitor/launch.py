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
from dataclasses import replace
from typing import NoReturn

from supervisor.errors import Refusal
from supervisor.kernel.close_range import close_range
from supervisor.kernel.libc import SyscallError
from supervisor.monitor import codes
from supervisor.monitor.spec import Launch
from supervisor.monitor.steps import ADOPT, ADOPTED, STEPS, Failed

LAUNCH_DEADLINE_S = 30.0  # an exec from a cold network volume may take seconds, not minutes
RECORD_BYTES = 4096  # one failure record: a step, a number and a sentence
READY = b"R\n"
NO_WORD = b"F\nstart\n0\nno word"
CHILD_FAILED_STATUS = 125


def launch(what: Launch) -> int:
    """Start ``what``; return its pid once it runs. Raises Refusal with one of ``launch.*``.

    The process is a child of ours, also in a PID namespace of its own: for that we must be PID 1 or
    a subreaper.
    """
    status_read, status_write = os.pipe2(os.O_CLOEXEC)
    adopted_read, adopted_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(adopted_write)  # the monitor's end must end with the monitor
        _child(replace(what, handshake=(status_write, adopted_read)), status_write)
    os.close(status_write)
    os.close(adopted_read)
    end = time.monotonic() + LAUNCH_DEADLINE_S
    failure: bytes | None
    try:
        if what.confinement.own_process_ids:
            pid, failure = _adopt(pid, status_read, adopted_write, end)
        else:
            failure = None
        if failure is None:
            failure = _await_exec(status_read, end)
    finally:
        os.close(status_read)
        os.close(adopted_write)
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
        if what.instead is not None:
            os.write(status, READY)
            close_range(status, status)
            os._exit(what.instead())
        os.write(status, READY)
        os.execvpe(what.argv[0], what.argv, what.environment)  # noqa: S606 - the point of it all
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind further
        number = error.errno if isinstance(error, OSError) and error.errno else 0
        text = str(error) if isinstance(error, SyscallError | Failed) else repr(error)
        record = f"F\n{name}\n{number}\n{text}".encode("utf-8", "backslashreplace")
        os.write(status, record[:RECORD_BYTES])
    os._exit(CHILD_FAILED_STATUS)


def _adopt(helper: int, status: int, adopted: int, end: float) -> tuple[int, bytes | None]:
    """Wait for the process that goes on in the PID namespace, and tell it that it is ours."""
    said = _read(status, end)
    if said is None or not said.startswith(ADOPT):
        return helper, said or (NO_WORD if said == b"" else b"")
    os.waitpid(helper, 0)
    os.write(adopted, ADOPTED)
    return int(said.removeprefix(ADOPT)), None


def _read(status: int, end: float) -> bytes | None:
    """The next words of the child, b"" when it closed the pipe, None when nothing came in time."""
    poll = select.poll()
    poll.register(status, select.POLLIN | select.POLLHUP)
    left = end - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        return None
    return os.read(status, RECORD_BYTES)


def _await_exec(status: int, end: float) -> bytes | None:
    """None once the program runs, else a failure record; b"" when nothing came in time."""
    said = b""
    while (block := _read(status, end)) is not None:
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
