"""The process behind the metrics socket, on real sockets: what it answers, and what it bears."""

import os
import socket
from contextlib import ExitStack

import pytest

from supervisor.events.metrics_page import write_page
from supervisor.events.probe import Health
from supervisor.monitor.metrics_responder import ALIVE, CONNECTIONS, PATIENCE_S, Responder
from supervisor.monitor.metrics_state import State, encode

WELL = Health(alive=True, ready=True)


class Lab:
    """A responder whose clock the test moves, and the monitor's end of its channel."""

    def __init__(self, stack):
        self.now = 100.0
        self.stack = stack
        self.monitor, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.page = os.memfd_create("metrics")
        stack.callback(os.close, self.page)
        for end in (self.monitor, theirs):
            stack.enter_context(end)
            end.setblocking(False)
        pages = ((self.page, "sandbox_egress_"),)
        self.responder = Responder(theirs, pages, clock=lambda: self.now)

    def connect(self, health=WELL, text=""):
        near, far = socket.socketpair()
        self.stack.enter_context(near).setblocking(False)
        with far:
            far.setblocking(False)
            socket.send_fds(self.monitor, [encode(State(health, text))], [far.fileno()])
        self.turn()
        return near

    def turn(self):
        self.now += 0.01
        for _ in range(3):
            self.responder._beat_at = self.now  # so that no turn waits for real
            self.responder.turn()

    def ask(self, near, request):
        near.sendall(request)
        self.turn()
        return near.recv(1 << 16)


@pytest.fixture
def lab():
    with ExitStack() as stack:
        yield Lab(stack)


def get(path):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path


def test_metrics_are_the_monitors_and_those_in_the_pages(lab):
    write_page(lab.page, "sandbox_egress_x 1\n")

    answer = lab.ask(lab.connect(text="sandbox_ready 1\n"), get(b"/metrics"))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nsandbox_ready 1\nsandbox_egress_x 1\n")


def test_the_answer_ends_the_connection(lab):
    near = lab.connect()
    lab.ask(near, get(b"/healthz"))
    assert near.recv(1) == b""


def test_health_is_what_the_monitor_said_when_it_accepted(lab):
    sick = Health(alive=False, ready=False, why_not="egress: crash-loop")
    assert b"503" in lab.ask(lab.connect(sick), get(b"/healthz"))
    assert lab.ask(lab.connect(sick), get(b"/readyz")).endswith(b"egress: crash-loop\n")
    assert b"200" in lab.ask(lab.connect(), get(b"/readyz"))


def test_a_large_answer_goes_out_in_pieces(lab):
    near = lab.connect(text="x" * 60_000 + "\n")
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    received = lab.ask(near, get(b"/metrics"))
    while True:
        lab.turn()
        try:
            block = near.recv(1 << 16)
        except BlockingIOError:
            continue
        if not block:
            break
        received += block
    assert received.endswith(b"x\n")


def test_who_says_nothing_or_trickles_is_cut(lab):
    silent, slow = lab.connect(), lab.connect()
    slow.sendall(b"GET /he")
    lab.now += PATIENCE_S
    lab.turn()
    assert silent.recv(1) == slow.recv(1) == b""


def test_who_opens_many_connections_loses_the_oldest(lab):
    held = [lab.connect() for _ in range(CONNECTIONS + 1)]
    assert held[0].recv(1) == b""
    assert b"200" in lab.ask(held[-1], get(b"/healthz"))


@pytest.mark.parametrize(
    "bad", [b"\x00" * 5000, b"POST /metrics HTTP/1.1\r\n\r\n", b"GET /../x\r\n\r\n"]
)
def test_what_is_no_request_is_answered_and_harms_nobody(lab, bad):
    assert lab.ask(lab.connect(), bad).startswith(b"HTTP/1.1 4")
    assert b"200" in lab.ask(lab.connect(), get(b"/healthz"))


def test_a_caller_that_goes_away_harms_nobody(lab):
    lab.connect().close()
    gone = lab.connect(text="x" * 60_000 + "\n")
    gone.sendall(get(b"/metrics"))
    gone.close()
    lab.turn()
    assert b"200" in lab.ask(lab.connect(), get(b"/healthz"))


def test_it_says_that_it_lives_and_ends_with_the_monitor(lab):
    lab.turn()
    assert lab.monitor.recv(10) == ALIVE
    lab.monitor.close()
    with pytest.raises(SystemExit):
        lab.turn()
