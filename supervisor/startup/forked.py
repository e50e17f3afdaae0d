"""Ask a short-lived, unprivileged child of ours: what is heavy or hostile is not for the monitor."""

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from supervisor.errors import in_short
from supervisor.kernel import capabilities, ids, prctl, procfs

NOBODY = 65534  # the overflow id: owns nothing
CPU_S = 10  # a policy of the largest size takes less than a second
MEMORY_BYTES = 1 << 30
ANSWER_BYTES = 8 << 20  # the largest policy, normalised, as JSON
DEADLINE_S = 20.0


class NoAnswer(Exception):  # noqa: N818 - the caller turns it into its own refusal
    """The child ended, took too long or said too much; the text says which."""


def ask_child(question: Callable[[], bytes]) -> bytes:
    """Run ``question`` in a child without privileges and return its bytes.

    The child has no capability, cannot gain any, has bounded memory and time, and its answer is
    bounded too. An error that it met is an answer, too: ``{"failed": words}`` as JSON. Raises
    NoAnswer.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        be_unprivileged(question, write_end)
    os.close(write_end)
    try:
        answer = _collect(read_end)
    except NoAnswer:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(read_end)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise NoAnswer(f"the child ended with {status}")
    return answer


def be_unprivileged(question: Callable[[], bytes], write_end: int) -> NoReturn:
    """In the forked child: give everything up, answer, end."""
    status = 1
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        if os.geteuid() == 0 and _may_change_ids():
            ids.setgroups([])
            ids.setresgid(NOBODY)
            ids.setresuid(NOBODY)
        prctl.clear_capabilities()
        prctl.set_no_new_privs()
        _write(question(), write_end)
        status = 0
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind further
        _write(json.dumps({"failed": in_short(error)}).encode(), write_end)
        status = 0
    finally:
        os._exit(status)


def _write(answer: bytes, write_end: int) -> None:
    view = memoryview(answer)
    while view:
        view = view[os.write(write_end, view) :]


def _may_change_ids() -> bool:
    """net-init has no such capability; its child then is a uid 0 that may do nothing at all."""
    held = procfs.read_status().effective
    return capabilities.has(held, "SETUID") and capabilities.has(held, "SETGID")


def _collect(read_end: int) -> bytes:
    end = time.monotonic() + DEADLINE_S
    blocks: list[bytes] = []
    size = 0
    while (left := end - time.monotonic()) > 0:
        if not select.select([read_end], [], [], left)[0]:
            break
        block = os.read(read_end, 1 << 16)
        if not block:
            return b"".join(blocks)
        blocks.append(block)
        size += len(block)
        if size > ANSWER_BYTES:
            raise NoAnswer(f"the answer is longer than {ANSWER_BYTES} bytes")
    raise NoAnswer(f"no answer within {DEADLINE_S} s")
