import asyncio
import socket

from supervisor.egress.poller import LEVEL_IN, Poller


def test_edges_and_what_was_put_off_come_in_order():
    poller, seen = Poller(), []
    near, far = socket.socketpair()
    with near, far:
        poller.add(near.fileno(), lambda events: (seen.append("edge"), poller.later(put_off)))

        def put_off():
            seen.append("later")

        far.send(b"x")
        assert poller.turn()
        assert seen == ["edge", "later"]
        poller.remove(near.fileno())
    assert not poller.turn()
    poller.close()


def test_a_handler_that_is_gone_gets_no_edge():
    poller, seen = Poller(), []
    pairs = [socket.socketpair() for _ in range(2)]
    for near, far in pairs:
        far.send(b"x")

        def ready(events, near=near):
            seen.append(near)
            for other, _ in pairs:
                poller.remove(other.fileno())

        poller.add(near.fileno(), ready, LEVEL_IN)
    poller.turn()
    assert len(seen) == 1
    poller.close()
    for near, far in pairs:
        near.close()
        far.close()


def test_what_asyncio_s_side_puts_off_does_not_wait_for_an_edge():
    async def scenario():
        poller, done = Poller(), asyncio.Event()
        loop = asyncio.get_running_loop()
        poller.attach(loop)
        poller.later(lambda: poller.later(done.set))
        async with asyncio.timeout(5):
            await done.wait()
        poller.detach(loop)
        poller.close()

    asyncio.run(scenario())
