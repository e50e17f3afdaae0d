"""Questions to the supervisor: who is answered, and that nobody can hold it up."""

import os
import socket
import threading
import time

import pytest
from support.forked import CLONE_NEWNET, in_child

from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.kernel import prctl
from supervisor.monitor.lifecycle import Lifecycle
from supervisor.monitor.loop import Loop, open_signals
from supervisor.startup.inquiry import PROVE, REPORT, WAITING, Inquiry, address, ask, may_ask

ANSWER = {"version": 1, "text": "x" * 100_000}


def answering(client):
    """Run ``client`` in a sibling of a supervisor that answers; the client's result."""

    def body():
        prctl.set_child_subreaper()
        ready_read, ready_write = os.pipe()
        supervisor = os.fork()
        if supervisor == 0:
            lifecycle = Lifecycle(grace_s=1, timeout_s=20)
            loop = Loop(signals=open_signals(), lifecycle=lifecycle, log=Log())
            inquiry = Inquiry(loop)
            inquiry.serve(lambda word: {**ANSWER, "word": word.decode()})
            os.write(ready_write, b"x")
            loop._lifecycle.start(now=time.monotonic())
            loop.run(0)
            os._exit(0)
        os.read(ready_read, 1)
        try:
            return client()
        finally:
            os.kill(supervisor, 9)
            os.waitpid(supervisor, 0)

    return in_child(body, unshare=CLONE_NEWNET)


def test_a_report_comes_whole():
    assert answering(lambda: ask(REPORT, 10)) == {**ANSWER, "word": "report"}
    assert answering(lambda: ask(PROVE, 10))["word"] == "prove"


def test_other_words_get_no_answer():
    for word in (b"repor", b"report\0", b"x" * 4000, b"{}"):
        with pytest.raises(AssertionError, match="ConnectionRefused"):
            answering(lambda word=word: ask(word, 10))


def test_another_uid_gets_no_answer():
    def client():
        os.setresuid(4242, 4242, 4242)
        return ask(REPORT, 10)

    with pytest.raises(AssertionError, match="ConnectionRefused"):
        answering(client)


def test_those_who_say_nothing_do_not_keep_others_waiting():
    def client():
        silent = []
        for _ in range(WAITING * 3):
            caller = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            caller.settimeout(10)
            caller.connect(address())
            silent.append(caller)
        return ask(REPORT, 10)["version"]

    assert answering(client) == 1


def test_a_process_of_ours_gets_no_answer():
    def body():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind("\0asked")
            listener.listen()
            child = os.fork()
            if child == 0:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
                    caller.connect("\0asked")
                    caller.recv(1)
                os._exit(0)
            caller, _ = listener.accept()
            with caller:
                return may_ask(caller)

    assert in_child(body, unshare=CLONE_NEWNET) is False


def test_a_name_that_is_taken_stops_the_start():
    def body():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
            squatter.bind(address())
            lifecycle = Lifecycle(grace_s=1, timeout_s=None)
            loop = Loop(signals=open_signals(), lifecycle=lifecycle, log=Log())
            with pytest.raises(Refusal) as caught:
                Inquiry(loop)
            return caught.value.code.name, threading.active_count()

    assert in_child(body, unshare=CLONE_NEWNET) == ("startup.address-taken", 1)
