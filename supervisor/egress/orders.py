"""What the monitor orders egress to do, one after the other, without a tunnel noticing.

A policy of a thousand rules takes 100 ms to read and compile. A thread does that, and the loop
takes the interpreter back from it every HANDOVER_S; only the swap happens in the loop.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from policy.index import Index
from supervisor.egress.order_messages import (
    ACCEPTED,
    MAX_PACKET,
    POLICY,
    REJECTED,
    Order,
    decode,
    encode,
)
from supervisor.egress.server import Egress
from supervisor.events.stream import EventStream
from supervisor.events.vocabulary import TunnelsClosed

# The largest policy, normalised (supervisor.startup.forked.ANSWER_BYTES).
POLICY_BYTES = 8 << 20
# The interpreter's default is 5 ms, and the loop may have to wait that long after each system call.
HANDOVER_S = 0.0005


async def obey_orders(
    channel: socket.socket,
    egress: Egress,
    compiled: Callable[[bytes], Index],
    stream: EventStream,
) -> None:
    """Obey until the monitor is gone. Raises ValueError for an order that is none.

    ``compiled`` runs in a thread and raises ValueError for what is no policy.
    """
    loop = asyncio.get_running_loop()
    sys.setswitchinterval(HANDOVER_S)
    while True:
        await _readable(loop, channel)
        packet, descriptors, _, _ = socket.recv_fds(channel, MAX_PACKET, 1)
        try:
            if not packet:
                egress.stop()
                return
            order = decode(packet)
            if order.kind != POLICY or len(descriptors) != 1:
                raise ValueError(f"an order that is none: {order.kind!r}")
            wire = os.pread(descriptors[0], POLICY_BYTES, 0)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            index = await loop.run_in_executor(None, compiled, wire)
            ended = egress.use_policy(index)
        except ValueError as error:
            channel.send(encode(Order(REJECTED, order.number, str(error))))
        else:
            channel.send(encode(Order(ACCEPTED, order.number)))
            if ended:
                stream.emit(TunnelsClosed(generation=order.number, times=ended))


async def _readable(loop: asyncio.AbstractEventLoop, channel: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(channel.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(channel.fileno())
