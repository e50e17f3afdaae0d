import asyncio
import os
import resource
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import pytest
from support.nameserver import NameServer, answering

from supervisor.egress import resolver as module
from supervisor.egress.resolv_conf import ResolvConf
from supervisor.egress.resolver import ResolveError, Resolver, ResolverBusyError

LOOPBACK = ip_address("127.0.0.1")
V4, V6 = ip_address("192.0.2.7"), ip_address("2001:db8::7")
TABLE = {("api.example.com", "A"): [str(V4)], ("api.example.com", "AAAA"): [str(V6)],
         ("only6.example.com", "AAAA"): [str(V6)], ("mail.example.com", "MX"): []}  # fmt: skip


@pytest.fixture
def serve():
    running = []

    def start(reply):
        server = NameServer(reply)
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


def resolver(server, **conf):
    return Resolver(ResolvConf(servers=(LOOPBACK,), **conf), port=server.port)


def resolve(server, name="api.example.com", **conf):
    async def run():
        return await resolver(server, **conf).resolve(name)

    return asyncio.run(run())


def test_both_families_are_asked_and_found(serve):
    server = serve(answering(TABLE))
    assert set(resolve(server)) == {V4, V6}
    assert len(server.asked) == 2
    assert resolve(server, "only6.example.com") == (V6,)


def test_without_a_descriptor_to_ask_with_the_resolver_is_busy(serve):
    server = serve(answering(TABLE))

    async def run():
        asked = resolver(server)
        lowest = os.dup(0)
        os.close(lowest)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(ResolverBusyError, match="Too many open files"):
                await asked.resolve("api.example.com")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return await asked.resolve("api.example.com")

    assert set(asyncio.run(run())) == {V4, V6}


def test_an_answer_is_remembered_for_as_long_as_it_may_be(serve):
    server = serve(answering(TABLE))

    async def run():
        now = [0.0]
        names = Resolver(ResolvConf(servers=(LOOPBACK,)), port=server.port, clock=lambda: now[0])
        await names.resolve("api.example.com")
        await names.resolve("api.example.com")
        assert len(server.asked) == 2
        now[0] = 31.0
        assert names.remembered("api.example.com") is None
        await names.resolve("api.example.com")
        assert len(server.asked) == 4

    asyncio.run(run())


def test_a_name_that_does_not_exist_is_not_asked_for_again_elsewhere(serve):
    server = serve(answering(TABLE))
    with pytest.raises(ResolveError, match="does not exist"):
        resolve(server, "gone.example.com")
    assert len(server.asked) == 2


def test_a_name_without_an_address_says_so(serve):
    with pytest.raises(ResolveError, match="no address"):
        resolve(serve(answering(TABLE)), "mail.example.com")


def test_a_long_answer_comes_over_tcp(serve):
    full = answering({("api.example.com", "A"): [f"10.0.0.{n}" for n in range(1, 30)]})

    def reply(query, transport):
        made = full(query, transport)
        if transport == "udp" and made.answer:
            made.answer.clear()
            made.flags |= dns.flags.TC
        return made

    server = serve(reply)
    assert len(resolve(server)) == 29
    assert ("api.example.com. IN A", "tcp") in server.asked


def test_a_forged_answer_does_not_end_the_wait(serve):
    real = answering(TABLE)

    def reply(query, transport):
        forged = real(query, transport)
        forged.id ^= 1
        return forged

    server = serve(reply)
    with pytest.raises(ResolveError, match="timeout"):
        resolve(server, timeout_s=1, attempts=1)


def test_a_server_that_fails_gets_another_chance_and_then_the_failure_is_told(serve):
    def reply(query, transport):
        made = dns.message.make_response(query)
        made.set_rcode(dns.rcode.SERVFAIL)
        return made

    server = serve(reply)
    with pytest.raises(ResolveError, match="SERVFAIL"):
        resolve(server, attempts=3)
    assert len(server.asked) == 6


def test_a_silent_server_costs_its_timeout_and_no_more(serve):
    server = serve(lambda query, transport: None)
    with pytest.raises(ResolveError, match="timeout"):
        resolve(server, timeout_s=1, attempts=1)


def test_nobody_listening_is_told_at_once():
    async def run():
        await Resolver(ResolvConf(servers=(LOOPBACK,)), port=9).resolve("api.example.com")

    with pytest.raises(ResolveError, match="refused"):
        asyncio.run(run())


def test_a_tcp_answer_that_breaks_off_is_a_failure(serve):
    def reply(query, transport):
        made = dns.message.make_response(query)
        made.flags |= dns.flags.TC
        return made if transport == "udp" else None

    with pytest.raises(ResolveError, match="closed before"):
        resolve(serve(reply), attempts=1)


def test_more_lookups_than_may_wait_are_refused(serve, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED", 1)
    server = serve(answering(TABLE))

    async def run():
        names = resolver(server)
        both = await asyncio.gather(
            names.resolve("api.example.com"), names.resolve("x.example.com"), return_exceptions=True
        )
        assert isinstance(both[1], ResolverBusyError)
        assert set(both[0]) == {V4, V6}

    asyncio.run(run())


def test_the_memory_of_answers_is_bounded(serve, monkeypatch):
    monkeypatch.setattr(module, "CACHED_NAMES", 1)
    server = serve(answering(TABLE))

    async def run():
        names = resolver(server)
        await names.resolve("api.example.com")
        await names.resolve("only6.example.com")
        assert names.remembered("api.example.com") is None
        assert names.remembered("only6.example.com") == (V6,)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["api.example.com", "missing.example.com"])
def test_who_wants_a_name_that_is_being_looked_up_shares_the_answer(serve, monkeypatch, name):
    monkeypatch.setattr(module, "MAX_QUEUED", 1)
    server = serve(answering(TABLE))

    async def run():
        names = resolver(server)
        wanted = (names.resolve(name) for _ in range(300))
        got = await asyncio.gather(*wanted, return_exceptions=True)
        assert len({str(one) for one in got}) == 1
        return got[0]

    got = asyncio.run(run())
    assert len(server.asked) == 2
    assert isinstance(got, ResolveError) if name.startswith("missing") else set(got) == {V4, V6}


@pytest.mark.parametrize("who", [0, 1], ids=["who asks for all", "who waits"])
def test_who_gives_up_takes_the_answer_from_nobody(serve, who):
    server = serve(answering(TABLE))

    async def run():
        names = resolver(server)
        wanting = [asyncio.create_task(names.resolve("api.example.com")) for _ in range(3)]
        await asyncio.sleep(0)
        leaver = wanting.pop(who)
        leaver.cancel()
        for one in wanting:
            assert set(await one) == {V4, V6}
        assert leaver.cancelled()

    asyncio.run(run())
