"""The workload's own terminal, pumped to and from ours.

The workload never gets the container's terminal: it gets a pseudo terminal of its own, so that
nothing it does to its terminal (TIOCSTI, mode changes) reaches the one an operator looks at.
"""

import contextlib
import errno
import os
import select

from supervisor.kernel import tty

BUFFER_BYTES = 64 * 1024  # per direction; a full buffer stops reading, so nothing is lost
# A pipe that polls writable takes this much without blocking: pipe(7), PIPE_BUF.
WRITE_BYTES = 4096
END_OF_INPUT = b"\x04"  # VEOF: what a closed stdin means on a terminal


class Terminal:
    """Pumps bytes between (outer_in, outer_out) and a new pseudo terminal; parses none of them."""

    def __init__(self, *, outer_in: int = 0, outer_out: int = 1) -> None:
        self._outer_in = outer_in
        self._outer_out = outer_out
        self.master, self.slave = tty.openpty()
        self._to_inner = b""
        self._to_outer = b""
        self._input_open = True
        self._inner_open = True
        self._attributes: list[object] | None = None

    def start(self) -> None:
        """Take over the outer terminal, if it is one; the workload's end is no longer ours."""
        os.close(self.slave)
        self.resize()
        if os.isatty(self._outer_in):
            self._attributes = tty.set_raw(self._outer_in)

    def resize(self) -> None:
        """Carry the outer window size over; the kernel then tells the foreground group."""
        if os.isatty(self._outer_in):
            tty.copy_winsize(self._outer_in, self.master)

    def interests(self) -> dict[int, int]:
        """Descriptor -> poll(2) events that are of use now."""
        wanted: dict[int, int] = {}
        if self._input_open and len(self._to_inner) < BUFFER_BYTES:
            wanted[self._outer_in] = select.POLLIN
        if self._inner_open:
            reading = select.POLLIN if len(self._to_outer) < BUFFER_BYTES else 0
            writing = select.POLLOUT if self._to_inner else 0
            wanted[self.master] = reading | writing
        if self._to_outer:
            wanted[self._outer_out] = wanted.get(self._outer_out, 0) | select.POLLOUT
        return {descriptor: events for descriptor, events in wanted.items() if events}

    def on_ready(self, descriptor: int, events: int) -> None:
        """Move what can be moved without blocking."""
        if descriptor == self.master:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._read_inner()
            if events & select.POLLOUT and self._inner_open:
                self._to_inner = self._to_inner[self._write(self.master, self._to_inner) :]
        elif descriptor == self._outer_in and events & (select.POLLIN | select.POLLHUP):
            self._read_outer()
        if descriptor == self._outer_out and events & (select.POLLOUT | select.POLLERR):
            self._write_outer()

    def drained(self) -> bool:
        """True once the workload's end is closed and everything it wrote is passed on."""
        return not self._inner_open and not self._to_outer

    def close(self) -> None:
        """Give the outer terminal back as it was."""
        if self._attributes is not None:
            with contextlib.suppress(OSError):  # it may have gone away with the operator
                tty.restore(self._outer_in, self._attributes)
        os.close(self.master)

    def _read_inner(self) -> None:
        try:
            block = os.read(self.master, WRITE_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last holder of the other end closed it
                raise
            block = b""
        self._inner_open = bool(block)
        self._to_outer += block

    def _read_outer(self) -> None:
        try:
            block = os.read(self._outer_in, WRITE_BYTES)
        except OSError:
            block = b""  # the operator's terminal went away
        self._input_open = bool(block)
        self._to_inner += block or END_OF_INPUT

    def _write_outer(self) -> None:
        try:
            self._to_outer = self._to_outer[self._write(self._outer_out, self._to_outer) :]
        except OSError:
            # Nobody reads any more: the workload must not be held up by that.
            self._to_outer = b""

    @staticmethod
    def _write(descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data[:WRITE_BYTES])
