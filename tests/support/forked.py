"""Run a function in a forked child with its own namespaces, and bring its result back.

State of the kernel never leaks from one privileged test into the next: whatever the function
did to its process, its namespaces or its identity ends with the child, and so does every process
of its group.
"""

import contextlib
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from supervisor.kernel.libc import check, libc

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000
DEADLINE_S = 60.0
LENGTH = struct.Struct("Q")


class ChildFailed(AssertionError):
    """The child raised, died of a signal, or did not answer in time."""


def in_child(
    function: Callable[[], Any], *, unshare: int = 0, deadline_s: float = DEADLINE_S
) -> Any:
    """Fork, unshare the given namespaces, call ``function`` and return what it returned.

    An exception inside becomes ChildFailed with the child's traceback.
    """
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _child(function, unshare, write_end)
    os.close(write_end)
    return _collect(pid, read_end, deadline_s)


def _child(function: Callable[[], Any], unshare: int, write_end: int) -> None:
    os.setpgid(0, 0)
    try:
        if unshare:
            check(libc.unshare(unshare), "unshare")
        answer = pickle.dumps((True, function()))
    except BaseException:
        answer = pickle.dumps((False, traceback.format_exc()))
    # The function may have closed or confined everything but this descriptor.
    view = memoryview(LENGTH.pack(len(answer)) + answer)
    while view:
        view = view[os.write(write_end, view) :]
    os._exit(0)


def _collect(pid: int, read_end: int, deadline_s: float) -> Any:
    end = time.monotonic() + deadline_s
    answer = b""
    try:
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([read_end], [], [], left)[0]:
                os.kill(pid, signal.SIGKILL)
                raise ChildFailed(f"no answer within {deadline_s} s")
            block = os.read(read_end, 1 << 16)
            if not block:
                break
            answer += block
            # Not until end of file: a process that the child started may hold the other end.
            whole = len(answer) >= LENGTH.size and LENGTH.unpack_from(answer)[0]
            if whole and len(answer) >= LENGTH.size + whole:
                break
    finally:
        os.close(read_end)
        with contextlib.suppress(ProcessLookupError):  # it ended alone
            os.killpg(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not answer:
        raise ChildFailed(f"child ended with {status} without an answer")
    ok, value = pickle.loads(answer[LENGTH.size :])
    if not ok:
        raise ChildFailed(value)
    return value
