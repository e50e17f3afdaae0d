"""An answer of a short-lived child, collected without waiting: for the monitor's loop."""

import os
from collections.abc import Callable
from typing import NoReturn

READ_BYTES = 1 << 16


class ChildAnswer:
    """Fork ``work`` with the writing end of a pipe; collect what it writes, at most ``limit``."""

    def __init__(self, work: Callable[[int], NoReturn], *, limit: int) -> None:
        self._limit = limit
        self.answer = b""
        self.descriptor, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.descriptor)
            work(write_end)
        os.close(write_end)

    def read(self) -> bool:
        """Take what is there; True once everything is. Raises ValueError when it is too long."""
        while True:
            try:
                block = os.read(self.descriptor, READ_BYTES)
            except BlockingIOError:
                return False
            if not block:
                return True
            self.answer += block
            if len(self.answer) > self._limit:
                raise ValueError(f"an answer longer than {self._limit} bytes")
