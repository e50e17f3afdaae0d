"""The follow protocol, its client and both commands over real sockets."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from support.event_examples import EXAMPLES

from supervisor.cli.main import main
from supervisor.errors import Refusal
from supervisor.events.follow import Follower, LineReader, parse_object
from supervisor.events.frames import Frame, decode
from supervisor.events.probe import Health
from supervisor.events.ring import RECORDS, EventRing
from supervisor.events.sinks import LogSink, SocketSink
from supervisor.events.status import HelperStatus, Status
from supervisor.events.stream import EventStream
from supervisor.events.vocabulary import Lane
from supervisor.monitor.control_client import ask_events, connect

STATUS = Status(
    state="running",
    health=Health(alive=True, ready=True),
    tunnels=4,
    workload_pid=12,
    started=1.7e9,
    policy_generation=2,
    helpers=(HelperStatus(name="egress", pid=27, state="serving", restarts=1),),
    records=3,
    forgotten=0,
    dropped=0,
)


def filled_ring() -> EventRing:
    """Events from a stream, through the socket that egress has, into the monitor's ring."""
    ring = EventRing()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        stream = EventStream(source="egress", hostname="pod-1", sinks=(SocketSink(ours),))
        for event in EXAMPLES:
            stream.emit(event)
            ring.add(decode(theirs.recv(1 << 17)))
    return ring


def answer(sock: socket.socket, ring: EventRing, *, raw: bytes | None) -> None:
    """One request, as the monitor answers it, but that this waits where the monitor polls."""
    with sock, suppress(BrokenPipeError, ConnectionResetError):  # whoever asked may have gone
        reader = LineReader(4096)
        lines: list[bytes] = []
        while not lines:
            lines = reader.feed(sock.recv(4096))
        request = parse_object(lines[0])
        if raw is not None:
            sock.sendall(raw)
        elif request["ask"] == "status":
            sock.sendall(json.dumps(STATUS.as_dict()).encode() + b"\n")
        else:
            follower = Follower(ring, only_denied=request["denied"], follow=request["follow"])
            while data := follower.pending():
                follower.sent(sock.send(data))


@contextmanager
def served(path: Path, ring: EventRing, raw: bytes | None = None):
    """A control socket that answers until the block ends."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            if stopping.is_set():
                client.close()
                return
            answer(client, ring, raw=raw)

    stopping = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(path)
    finally:
        stopping.set()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
            last.connect(str(path))
        thread.join()
        listener.close()


def test_records_pass_from_a_stream_to_the_command(tmp_path, capsys):
    with served(tmp_path / "control", filled_ring()) as path:
        assert main(["events", "--json", "--control", path]) == 0

    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["metadata"]["sequence"] for one in records] == list(range(1, len(EXAMPLES) + 1))


def test_only_denials_on_request_as_readable_lines(tmp_path, capsys):
    with served(tmp_path / "control", filled_ring()) as path:
        assert main(["events", "--denied", "--control", path]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert not any(" connection.opened " in line for line in lines)
    assert any('cause="no entry of the policy names exfil.example"' in line for line in lines)


def test_status_shows_helpers_and_denials_with_their_totals(tmp_path, capsys):
    with served(tmp_path / "control", filled_ring()) as path:
        assert main(["status", "--control", path]) == 0
        text = capsys.readouterr().out
        assert main(["status", "--json", "--control", path]) == 0
        found = json.loads(capsys.readouterr().out)

    assert "name=egress pid=27 state=serving restarts=1" in text
    assert "    60  /usr/bin/curl -> exfil.example:443  network.no-rule" in text
    assert found["helpers"][0]["restarts"] == 1
    assert found["denials"][0]["count"] == 60


def test_nobody_there_is_a_refusal_with_a_remedy(tmp_path, capsys):
    assert main(["events", "--json", "--control", str(tmp_path / "none")]) == 1

    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "control.not-running"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"no json\n", "control.protocol"),
        (b"[" * 50_000 + b"\n", "control.protocol"),
        (b"x" * (2 << 20), "control.protocol"),
        (b'{"event":{}}\n', "control.protocol"),
        (b'{"event":7}\n', "control.protocol"),
        (b'{"event":{}}\n{"end"', "control.protocol"),
        (b'{"cut":{"missed":7,"cause":"slow"}}\n', "control.cut"),
        (b'{"error":{"code":"a.b","cause":"c","remedy":"d"}}\n', "a.b"),
        (b'{"event":{"x":1e999}}\n', "control.protocol"),
    ],
)
def test_an_answer_that_is_wrong_is_a_refusal(tmp_path, capsys, raw, code):
    with served(tmp_path / "control", EventRing(), raw) as path:
        assert main(["events", "--json", "--control", path]) == 1

    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last)["error"]["code"] == code


def test_a_supervisor_that_closes_without_an_answer_is_a_refusal(tmp_path, capsys):
    with served(tmp_path / "control", EventRing(), b"") as path:
        assert main(["status", "--json", "--control", path]) == 1

    assert json.loads(capsys.readouterr().out)["error"]["code"] == "control.protocol"


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    ring = EventRing()
    for number in range(RECORDS):
        ring.add(Frame(Lane.STATE, number, b'{"x":"%s"}' % (b"x" * 500)))
    with served(tmp_path / "control", ring) as path, ExitStack() as stack:
        command = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "supervisor", "events", "--json", "--control", path],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        command.stdout.readline()
        command.stdout.close()
        assert command.wait(60) == 0
        assert command.stderr.read() == b""


def test_a_reader_that_stands_still_is_cut_and_told_so():
    ring = EventRing()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        follower = Follower(ring, only_denied=False, follow=True)
        for number in range(20 * RECORDS):
            ring.add(Frame(Lane.ALLOWED, number, b'{"n":%d}' % number))
            send(ours, follower)
        assert not follower.is_over  # the notice does not fit either, until somebody reads
        received = b""
        while not follower.is_over:
            received += theirs.recv(1 << 16)
            send(ours, follower)
        ours.shutdown(socket.SHUT_WR)
        while data := theirs.recv(1 << 16):
            received += data

    *events, last = [json.loads(line) for line in received.splitlines()]
    seen = [one["event"]["n"] for one in events]
    assert seen == list(range(len(seen)))
    assert last["cut"]["missed"] > 0


def send(sock: socket.socket, follower: Follower) -> None:
    while data := follower.pending():
        try:
            follower.sent(sock.send(data))
        except BlockingIOError:
            return


def test_a_full_pipe_is_not_waited_for_and_denials_are_written_later():
    read_end, write_end = os.pipe()
    with closing(os.fdopen(read_end, "rb")) as reader:
        stream = EventStream(
            source="egress", hostname="pod-1", sinks=(LogSink(write_end, form="json"),)
        )
        for _ in range(20):
            for event in EXAMPLES:
                stream.emit(event)
        assert stream.dropped[Lane.ALLOWED] > 0
        lines = []
        for _ in range(30):
            lines += os.read(read_end, 1 << 16).splitlines()
            stream.tick()
            if len(lines) >= stream.sequence - sum(stream.dropped.values()):
                break
        os.close(write_end)
        lines += reader.read().splitlines()

    records = [json.loads(line) for line in lines]
    denied = [one for one in records if one["metadata"]["event_code"] == "connection.refused"]
    assert len(denied) == 20
    numbers = [one["metadata"]["sequence"] for one in records]
    assert len(set(numbers)) == len(numbers)


def test_a_log_that_is_gone_stops_nothing():
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = EventStream(
        source="egress", hostname="pod-1", sinks=(LogSink(write_end, form="text"),)
    )

    stream.emit(EXAMPLES[0])
    os.close(write_end)

    assert stream.dropped[Lane.ALLOWED] == 1


def test_a_listener_that_is_full_or_closed_is_a_refusal(tmp_path):
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))

    with pytest.raises(Refusal) as refused:
        connect(str(path))

    assert refused.value.code.name == "control.not-running"


def test_what_follows_ends_with_the_sandbox(tmp_path):
    with served(tmp_path / "control", EventRing(), b'{"event":{"a":1}}\n') as path:
        with connect(path) as sock:
            assert list(ask_events(sock, denied=False, follow=True)) == [{"a": 1}]
