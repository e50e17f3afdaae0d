import asyncio
import hashlib
import os
import resource
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest
from support.monitor import PlayedMonitor, found
from support.sockets import tcp_pair

from policy.intent import CallerProblem
from supervisor.egress import caller as module
from supervisor.egress.caller import CallerFinder
from supervisor.egress.link import RESET_ON_CLOSE
from supervisor.egress.owner_messages import Answer, Outcome
from supervisor.egress.poller import Poller
from supervisor.kernel.sock_diag import open_sock_diag

EXE = os.readlink("/proc/self/exe")


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def ends(sock):
    (near, near_port), (far, far_port) = sock.getsockname(), sock.getpeername()
    return (ip_address(near), near_port), (ip_address(far), far_port)


def bound_pair(listener, own):
    """A connection from a port of choice: the client's end, and the accepted one."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(own)
    client.connect(listener.getsockname())
    return client, listener.accept()[0]


class Finding:
    """A finder inside a running loop, with a played monitor."""

    def __init__(self, reply=None):
        self.monitor = PlayedMonitor(reply)
        self.poller = Poller()
        self.pool = ThreadPoolExecutor(1)
        self.diag = open_sock_diag()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.poller.attach(loop)
        self.finder = CallerFinder(
            poller=self.poller,
            channel=self.monitor.theirs,
            diag=self.diag,
            loop=loop,
            hashers=self.pool,
        )
        return self

    async def find(self, sock, accepted):
        answer = asyncio.get_running_loop().create_future()
        self.finder.find(*ends(sock), accepted, answer.set_result)
        async with asyncio.timeout(20):
            return await answer

    async def __aexit__(self, *_):
        self.poller.detach(asyncio.get_running_loop())
        self.monitor.close()
        self.pool.shutdown()
        self.poller.close()
        self.diag.close()


@pytest.fixture
def pair():
    near, far = tcp_pair()
    yield near, far
    near.close()
    far.close()


def run(scenario):
    asyncio.run(scenario())


def test_the_holder_s_program_comes_with_its_digest_and_is_hashed_once(pair):
    async def scenario():
        async with Finding() as finding:
            first = await finding.find(*pair)
            again = await finding.find(*pair)
            assert first == again
            (caller,) = first.callers
            assert (caller.binary, caller.digests, caller.problem) == (EXE, (digest(EXE),), None)
            assert first.pids == (os.getpid(),)
            assert finding.monitor.asked[0].uid == os.getuid()
            assert finding.monitor.asked[0].inode == os.fstat(pair[0].fileno()).st_ino

    run(scenario)


def test_every_holder_is_reported(pair):
    def two(question):
        return found(question, 11, 12, paths=[EXE, shutil.which("true")])

    async def scenario():
        async with Finding(two) as finding:
            callers = (await finding.find(*pair)).callers
            assert [caller.binary for caller in callers] == [EXE, shutil.which("true")]

    run(scenario)


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome.VANISHED, CallerProblem.VANISHED),
        (Outcome.UNREADABLE, CallerProblem.UNREADABLE),
        (Outcome.OVER_BUDGET, CallerProblem.OVER_BUDGET),
    ],
)
def test_what_the_monitor_could_not_find_is_a_problem(pair, outcome, problem):
    async def scenario():
        def reply(question):
            return (Answer(question_id=question.question_id, outcome=outcome), [])

        async with Finding(reply) as finding:
            assert (await finding.find(*pair)).callers[0].problem is problem

    run(scenario)


def test_a_socket_that_is_gone_is_not_asked_for(pair):
    async def scenario():
        async with Finding() as finding:
            local, remote = ends(pair[0])
            pair[0].close()
            answer = asyncio.get_running_loop().create_future()
            finding.finder.find(local, remote, pair[1], answer.set_result)
            assert answer.result().callers[0].problem is CallerProblem.VANISHED
            assert finding.monitor.asked == []

    run(scenario)


def test_a_program_that_was_replaced_is_reported_as_changed(pair, tmp_path):
    program = tmp_path / "program"
    shutil.copy(shutil.which("true"), program)

    def reply(question):
        return found(question, 11, paths=[str(program)])

    async def scenario():
        async with Finding(reply) as finding:
            first = await finding.find(*pair)
            assert first.callers[0].problem is None
            shutil.copy(shutil.which("false"), program)
            second = await finding.find(*pair)
            assert second.callers[0].problem is CallerProblem.CHANGED

    run(scenario)


def test_missing_descriptors_are_unreadable_programs(pair):
    async def scenario():
        async with Finding(lambda question: (found(question, os.getpid())[0], [])) as finding:
            assert (await finding.find(*pair)).callers[0].problem is CallerProblem.UNREADABLE

    run(scenario)


def test_a_burst_is_asked_about_in_order_and_never_more_than_the_monitor_takes(pair):
    waiting, most, order = [], [], []

    def slowly(question):
        waiting.append(question)
        most.append(len(waiting))

    async def scenario():
        async with Finding(slowly) as finding:
            for number in range(200):
                finding.finder.find(
                    *ends(pair[0]), pair[1], lambda who, n=number: order.append((n, who))
                )
            while len(order) < 200:
                await asyncio.sleep(0.001)
                if waiting:
                    answer, paths = found(waiting.pop(0), os.getpid())
                    finding.monitor.send(answer, paths)

    run(scenario)
    assert [number for number, _ in order] == list(range(200))
    assert {who.callers[0].binary for _, who in order} == {EXE}
    assert max(most) == module.MAX_PENDING


def test_what_waits_too_long_or_beyond_the_bound_is_over_budget(pair, monkeypatch):
    monkeypatch.setattr(module, "MAX_PENDING", 1)
    monkeypatch.setattr(module, "MAX_HELD_BACK", 2)

    async def scenario():
        async with Finding(lambda question: None) as finding:
            problems = {}

            def find(name):
                def done(callers):
                    problems[name] = callers.callers[0].problem

                finding.finder.find(*ends(pair[0]), pair[1], done)

            def wait(seconds):
                finding.poller.now += seconds
                finding.finder.sweep()
                return set(problems)

            for name in ("asked", "held back", "also", "one more"):
                find(name)
            finding.poller.turn()
            assert set(problems) == {"one more"}
            assert wait(module.PATIENCE_S) == {"one more", "asked"}  # now the next is asked
            assert wait(module.HELD_BACK_S - module.PATIENCE_S) == {"one more", "asked", "also"}
            assert wait(module.PATIENCE_S) == {"one more", "asked", "also", "held back"}
            assert set(problems.values()) == {CallerProblem.OVER_BUDGET}

    run(scenario)


def test_a_program_that_cannot_be_taken_for_want_of_descriptors_is_over_budget(pair):
    async def scenario():
        async with Finding() as finding:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

            def without_descriptors(question):
                last = os.open(EXE, os.O_RDONLY)  # the monitor's is ours, too, in this test
                resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
                finding.monitor.send_opened(found(question, os.getpid())[0], [last])

            finding.monitor.reply = without_descriptors
            try:
                problem = (await finding.find(*pair)).callers[0].problem
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert problem is CallerProblem.OVER_BUDGET
            finding.monitor.reply = finding.monitor.this_process
            assert (await finding.find(*pair)).callers[0].problem is None

    run(scenario)


def test_no_descriptor_is_left_behind(pair):
    async def scenario():
        async with Finding() as finding:
            await finding.find(*pair)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                await finding.find(*pair)
            assert len(os.listdir("/proc/self/fd")) == before

    run(scenario)


def test_the_end_of_the_monitor_is_no_error_here(pair):
    """It ends egress by the other channel; a traceback would be the last thing in the log."""

    async def main():
        async with Finding() as finding:
            finding.monitor._mine.shutdown(socket.SHUT_WR)
            finding.finder._answered(0)

    asyncio.run(main())


@pytest.mark.parametrize("half_closed", [False, True])
def test_who_took_the_port_of_a_closed_connection_does_not_vouch_for_what_it_said(half_closed):
    """The first bytes of a connection that was reset can still be read."""

    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client, accepted = bound_pair(listener, ("127.0.0.1", 0))
            own = client.getsockname()
            client.sendall(b"in another's name")
            async with Finding() as finding:
                if half_closed:
                    client.shutdown(socket.SHUT_WR)
                assert (await finding.find(client, accepted)).callers[0].problem is None
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                client.close()
                successor, theirs = bound_pair(listener, own)
                found_callers = await finding.find(successor, accepted)
                assert accepted.recv(100) == b"in another's name"
                assert (await finding.find(successor, theirs)).callers[0].problem is None
            for sock in (accepted, successor, theirs):
                sock.close()
        assert found_callers.callers[0].problem is CallerProblem.VANISHED

    run(scenario)


def test_a_connection_of_ours_that_is_closed_has_no_caller(pair):
    async def scenario():
        async with Finding() as finding:
            assert (await finding.find(pair[0], None)).callers[0].problem is CallerProblem.VANISHED

    run(scenario)
