"""Egress and what the monitor orders: read aside, put in force in order, answered."""

import asyncio
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from supervisor.egress.order_messages import (
    ACCEPTED,
    MAX_PACKET,
    POLICY,
    REJECTED,
    Order,
    decode,
    encode,
)
from supervisor.egress.orders import Orders
from supervisor.kernel.memfd import sealed


class Monitor:
    """The other end of the channel, beside an Orders in a running loop."""

    def __init__(self, read):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.used, self.stopped = [], asyncio.Event()
        self.thread = ThreadPoolExecutor(1)
        orders = Orders(
            self.theirs,
            read=read,
            use=lambda index: self.used.append(index) or 7,
            used=lambda generation, ended: self.used.append((generation, ended)),
            stop=self.stopped.set,
            thread=self.thread,
        )
        orders.attach(asyncio.get_running_loop())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        asyncio.get_running_loop().remove_reader(self.theirs.fileno())
        self.thread.shutdown()
        self.ours.close()
        self.theirs.close()

    def order(self, generation, policy):
        memory = sealed("policy", policy)
        socket.send_fds(self.ours, [encode(Order(POLICY, generation))], [memory])
        os.close(memory)

    async def answer(self):
        async with asyncio.timeout(20):
            return decode(await asyncio.get_running_loop().sock_recv(self.ours, MAX_PACKET))


def test_policies_are_read_in_a_thread_and_used_in_their_order():
    async def scenario():
        loop_goes_on = threading.Event()

        def read(whole):
            assert loop_goes_on.wait(20), "the loop waits for the policy to be read"
            return whole.decode()

        with Monitor(read) as monitor:
            monitor.order(1, b"first")
            monitor.order(2, b"second")
            asyncio.get_running_loop().call_later(0.05, loop_goes_on.set)
            answers = [await monitor.answer(), await monitor.answer()]
        assert answers == [Order(ACCEPTED, 1), Order(ACCEPTED, 2)]
        assert monitor.used == ["first", (1, 7), "second", (2, 7)]

    asyncio.run(scenario())


def test_a_policy_that_is_none_is_rejected_with_its_cause_and_not_used():
    async def scenario():
        def read(whole):
            raise ValueError(f"no policy: {whole.decode()}")

        with Monitor(read) as monitor:
            monitor.order(3, b"bad")
            assert await monitor.answer() == Order(REJECTED, 3, "no policy: bad")
        assert monitor.used == []

    asyncio.run(scenario())


def test_the_end_of_the_monitor_stops_egress_once():
    async def scenario():
        with Monitor(bytes.decode) as monitor:
            monitor.ours.close()
            async with asyncio.timeout(20):
                await monitor.stopped.wait()

    asyncio.run(scenario())
