"""What the monitor orders: another policy, or, by its end, to stop.

A thousand rules take some tens of milliseconds to read. That is done in a thread, one policy after
the other, and the loop only puts the result in force; tunnels go on meanwhile.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING

from supervisor.egress.order_messages import (
    ACCEPTED,
    MAX_PACKET,
    POLICY,
    REJECTED,
    Order,
    decode,
    encode,
)

if TYPE_CHECKING:
    from policy.index import Index

# The largest policy, normalised (supervisor.startup.forked.ANSWER_BYTES).
POLICY_BYTES = 8 << 20
# How long the loop waits for the interpreter behind the thread after each system call; Python's
# own 5 ms would leave a tunnel a tenth of its speed.
SWITCH_S = 0.0002


class Orders:
    """Obeys what comes on ``channel``. ``thread`` has one worker, so policies keep their order.

    ``read`` makes a policy of bytes and raises ValueError where they are none; ``use`` puts it in
    force. ``used`` is told its generation and what ``use`` returned: how many tunnels ended.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        read: "Callable[[bytes], Index]",
        use: "Callable[[Index], int]",
        used: Callable[[int, int], None],
        stop: Callable[[], None],
        thread: Executor,
    ) -> None:
        self._channel = channel
        self._read = read
        self._use = use
        self._used = used
        self._stop = stop
        self._thread = thread
        channel.setblocking(False)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen from now on."""
        sys.setswitchinterval(SWITCH_S)
        loop.add_reader(self._channel.fileno(), self._take, loop)

    def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        packet, descriptors, _, _ = socket.recv_fds(self._channel, MAX_PACKET, 1)
        try:
            if not packet:
                loop.remove_reader(self._channel.fileno())
                self._stop()  # the monitor is gone
                return
            order = decode(packet)
            if order.kind != POLICY or len(descriptors) != 1:
                raise ValueError(f"an order that is none: {order.kind!r}")
            whole = os.pread(descriptors[0], POLICY_BYTES, 0)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        reading = loop.run_in_executor(self._thread, self._read, whole)
        reading.add_done_callback(partial(self._have_read, order.number))

    def _have_read(self, generation: int, reading: "asyncio.Future[Index]") -> None:
        if reading.cancelled():
            return
        try:
            index = reading.result()
        except ValueError as error:
            self._channel.send(encode(Order(REJECTED, generation, str(error))))
            return
        ended = self._use(index)
        self._channel.send(encode(Order(ACCEPTED, generation)))
        self._used(generation, ended)
