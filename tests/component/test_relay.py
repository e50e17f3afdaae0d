import hashlib
import os
import resource
import select
import socket
import threading
import time

import pytest
from support.sockets import Background, read_all, read_exactly, reset, tcp_pair

from supervisor.egress.poller import Poller
from supervisor.egress.relay import End, Limits, Relay

BULK = 24 << 20


class Running:
    """A relay driven by a thread of its own; commands run between its turns."""

    def __init__(self, limits=None):
        self.poller = Poller()
        self.relay = Relay(self.poller, limits)
        self.ends = []
        self._outer = []
        self._stop = threading.Event()
        self._commands = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            self.poller.turn(0.01)
            while self._commands:
                self._commands.pop(0)()

    def do(self, command):
        done = threading.Event()
        box = []

        def run():
            box.append(command())
            done.set()

        self._commands.append(run)
        assert done.wait(20)
        return box[0]

    def tunnel(self, **more):
        """A client's end and an upstream's end with the relay in between."""
        client, near = tcp_pair()
        far, upstream = tcp_pair()
        self._outer += [client, upstream]
        for side in (near, far):
            side.setblocking(False)
        self.do(
            lambda: self.relay.start(
                client=near,
                upstream=far,
                ended=lambda t, how: self.ends.append((how, t.bytes_up, t.bytes_down)),
                **more,
            )
        )
        return client, upstream

    def until_ended(self, count=1):
        deadline = time.monotonic() + 20
        while len(self.ends) < count:
            assert time.monotonic() < deadline, "the tunnel did not end"
            threading.Event().wait(0.005)
        return self.ends

    def close(self):
        self._stop.set()
        self._thread.join(20)
        self.relay.close()
        self.poller.close()
        for side in self._outer:
            side.close()


@pytest.fixture
def running():
    relay = Running()
    yield relay
    relay.close()


def test_bytes_go_both_ways_and_the_end_is_orderly(running):
    client, upstream = running.tunnel()
    client.sendall(b"question")
    assert read_exactly(upstream, 8) == b"question"
    upstream.sendall(b"the answer")
    upstream.close()
    assert read_all(client) == b"the answer"
    client.close()
    assert running.until_ended() == [(End.DONE, 8, 10)]


def test_early_data_is_written_first_in_both_directions(running):
    client, upstream = running.tunnel(early=(b"hello ", b"banner "))
    client.sendall(b"world")
    upstream.sendall(b"here")
    assert read_exactly(upstream, 11) == b"hello world"
    assert read_exactly(client, 11) == b"banner here"


def test_a_half_closed_side_still_gets_the_whole_answer(running):
    client, upstream = running.tunnel()
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)
    assert read_all(upstream) == b"request"
    answer = os.urandom(BULK)
    sending = Background(upstream.sendall, answer)
    assert read_all_of(client, len(answer)) == hashlib.sha256(answer).digest()
    sending.result()
    upstream.close()
    assert client.recv(1) == b""
    assert running.until_ended() == [(End.DONE, 7, BULK)]


def read_all_of(side, count):
    digest = hashlib.sha256()
    while count:
        piece = side.recv(1 << 18)
        assert piece
        digest.update(piece)
        count -= len(piece)
    return digest.digest()


def test_bulk_in_both_directions_at_once_arrives_unchanged(running):
    client, upstream = running.tunnel()
    up, down = os.urandom(BULK), os.urandom(BULK)
    jobs = [
        Background(client.sendall, up),
        Background(upstream.sendall, down),
        Background(read_all_of, upstream, BULK),
        Background(read_all_of, client, BULK),
    ]
    results = [job.result() for job in jobs]
    assert results[2] == hashlib.sha256(up).digest()
    assert results[3] == hashlib.sha256(down).digest()


def test_pipes_are_given_back_when_the_bytes_are_through(running):
    client, upstream = running.tunnel()
    job = Background(read_all_of, upstream, BULK)
    client.sendall(bytes(BULK))
    job.result()
    client.sendall(b"x")
    read_exactly(upstream, 1)
    assert running.do(lambda: running.relay._pipes.lent) == 0


def test_a_slow_reader_slows_its_own_source_and_loses_nothing(running):
    client, upstream = running.tunnel()
    data = os.urandom(BULK)
    sending = Background(upstream.sendall, data)
    other_client, other_upstream = running.tunnel()
    other_client.sendall(b"still quick")
    assert read_exactly(other_upstream, 11) == b"still quick"
    (tunnel,) = [t for t in running.relay.tunnels if t.down.moved]
    assert tunnel.bytes_down < BULK
    assert read_all_of(client, BULK) == hashlib.sha256(data).digest()
    sending.result()


@pytest.mark.parametrize("how", [End.CLIENT_RESET, End.UPSTREAM_RESET])
def test_a_reset_of_one_side_reaches_the_other_as_a_reset(running, how):
    client, upstream = running.tunnel()
    client.sendall(b"x")
    read_exactly(upstream, 1)
    broken, other = (client, upstream) if how is End.CLIENT_RESET else (upstream, client)
    reset(broken)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    assert running.until_ended()[0][0] is how


def test_a_client_that_vanishes_during_a_download_ends_the_tunnel(running):
    client, upstream = running.tunnel()
    sending = Background(upstream.sendall, bytes(BULK))
    read_exactly(client, 1 << 20)
    reset(client)
    with pytest.raises(ConnectionError):
        sending.result()
    assert running.until_ended()[0][0] is End.CLIENT_RESET


def test_a_withdrawn_permission_resets_both_sides_at_once(running):
    client, upstream = running.tunnel(context="rule-7")
    stays, _ = running.tunnel(context="rule-8")
    running.do(
        lambda: [
            running.relay.end(t, End.POLICY) for t in running.relay.tunnels if t.context == "rule-7"
        ]
    )
    for side in (client, upstream):
        with pytest.raises(ConnectionResetError):
            side.recv(1)
    assert running.ends == [(End.POLICY, 0, 0)]
    assert select.select([stays], [], [], 0)[0] == []


@pytest.mark.parametrize(
    ("limits", "how"),
    [
        (Limits(idle_s=0.0, stalled_s=9e9, half_closed_idle_s=9e9), End.IDLE),
        (Limits(total_s=0.0), End.TOTAL),
    ],
)
def test_a_limit_ends_a_tunnel_with_a_reset_and_says_which(limits, how):
    running = Running(limits)
    client, _ = running.tunnel()
    running.do(running.relay.sweep)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert running.until_ended()[0][0] is how
    running.close()


def test_a_reader_that_never_reads_is_ended_and_its_pipe_freed():
    running = Running(Limits(stalled_s=0.0))
    _client, upstream = running.tunnel()
    sending = Background(upstream.sendall, bytes(BULK))
    while not running.do(lambda: any(t.down.holds for t in running.relay.tunnels)):
        threading.Event().wait(0.005)
    running.do(running.relay.sweep)
    with pytest.raises(ConnectionError):
        sending.result()
    assert running.until_ended()[0][0] is End.STALLED
    assert running.do(lambda: running.relay._pipes.lent) == 0
    running.close()


def test_a_half_closed_tunnel_has_a_shorter_limit():
    running = Running(Limits(half_closed_idle_s=0.0))
    client, upstream = running.tunnel()
    running.do(running.relay.sweep)
    assert running.ends == []
    client.shutdown(socket.SHUT_WR)
    assert read_all(upstream) == b""
    running.do(running.relay.sweep)
    assert running.until_ended()[0][0] is End.IDLE
    running.close()


def test_without_descriptors_for_pipes_the_bytes_are_copied(running):
    client, upstream = running.tunnel()
    data = os.urandom(BULK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.pipe()
        sending = Background(client.sendall, data)
        assert read_all_of(upstream, BULK) == hashlib.sha256(data).digest()
        sending.result()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_when_all_pipes_are_lent_the_bytes_are_copied(running):
    running.relay._pipes._limit = 0
    client, upstream = running.tunnel()
    data = os.urandom(BULK)
    sending = Background(client.sendall, data)
    assert read_all_of(upstream, BULK) == hashlib.sha256(data).digest()
    sending.result()


def test_ending_twice_is_ending_once(running):
    client, _ = running.tunnel()
    (tunnel,) = running.relay.tunnels
    running.do(lambda: (running.relay.end(tunnel, End.POLICY), running.relay.end(tunnel, End.IDLE)))
    assert running.ends == [(End.POLICY, 0, 0)]
    client.close()
