"""signalfd(2): blocked signals as readable records.

The launcher blocks the signals before the interpreter starts and nothing ever unblocks them in
the monitor, so there is no moment in which one could be lost or run a handler.
"""

import ctypes
import os
import signal
import struct
from collections.abc import Iterable

from supervisor.kernel.libc import check, libc

SFD_CLOEXEC = os.O_CLOEXEC
SFD_NONBLOCK = os.O_NONBLOCK
RECORD = struct.Struct("=I124x")  # struct signalfd_siginfo: ssi_signo, then what we do not use
RECORDS_PER_READ = 16
SIGSET_BYTES = 8  # the kernel's sigset_t: one bit a signal, 64 signals


def signalfd(signals: Iterable[signal.Signals]) -> int:
    """Block ``signals`` in this thread and return a non-blocking descriptor that yields them."""
    wanted = set(signals)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    mask = 0
    for number in wanted:
        mask |= 1 << (number - 1)
    # glibc's sigset_t is 128 bytes; the kernel looks at the first 8 only.
    buffer = ctypes.create_string_buffer(mask.to_bytes(SIGSET_BYTES, "little"), 128)
    return check(libc.signalfd(-1, buffer, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd")


def read_signals(descriptor: int) -> list[int]:
    """The signal numbers that are pending, at most RECORDS_PER_READ; empty when there is none."""
    try:
        block = os.read(descriptor, RECORD.size * RECORDS_PER_READ)
    except BlockingIOError:
        return []
    return [int(record[0]) for record in RECORD.iter_unpack(block)]
