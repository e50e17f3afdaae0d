"""What the monitor makes of a small helper that says something and ends, or does not end."""

import os
import signal
import socket

from support.forked import in_child
from support.records import events_of

from supervisor.events.log import Log
from supervisor.monitor.lifecycle import Lifecycle
from supervisor.monitor.loop import Loop, open_signals
from supervisor.monitor.metrics_keeper import MetricsKeeper
from supervisor.monitor.metrics_responder import ALIVE

WORDS = b"!OSError: nothing works; at somewhere"


def after_the_end_of(*packets, stays=False):
    """The events, and why the loop ended, after a helper that sends ``packets`` and ends.

    ``stays``: it ends only once the loop has taken what it said, and is killed.
    """

    all_said, say_all = os.pipe()

    def run(channel):
        for packet in packets:
            os.write(channel, packet)
        os.write(say_all, b".")
        if stays:
            signal.pause()
        os._exit(1)

    def body():
        written = os.memfd_create("log")
        log = Log(format="json", stream=written)
        loop = Loop(signals=open_signals(), lifecycle=Lifecycle(grace_s=1, timeout_s=None), log=log)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            keeper = MetricsKeeper(
                listener=listener, pages=(), uid=None,
                state=None, may_ask=None, loop=loop, log=log,
            )  # fmt: skip
            keeper._run = run
            keeper.start()
            loop.keep(keeper)
            os.read(all_said, 1)
            if stays:
                loop._turn()
                os.kill(keeper.helper.pid, signal.SIGKILL)
            # The signal and what was said are both there: the loop takes the signal first.
            os.waitid(os.P_PID, keeper.helper.pid, os.WEXITED | os.WNOWAIT)
            loop._turn()
        text = os.pread(written, 1 << 20, 0).decode()
        return [(one["event"], one.get("code")) for one in events_of(text)], loop._finish

    return in_child(body)


def test_a_helper_that_breaks_the_protocol_and_ends_is_replaced_like_any_other():
    """What has ended has a number that is nobody's, or somebody else's: it is not killed."""
    events, finish = after_the_end_of(b"no sign of life")

    assert events == [("helper.fault", "monitor.helper-protocol"), ("helper.died", None)]
    assert finish is None


def test_last_words_behind_signs_of_life_are_heard():
    events, _ = after_the_end_of(ALIVE, ALIVE, WORDS)

    assert events == [
        ("helper.ready", None),
        ("helper.fault", "monitor.helper-failed"),
        ("helper.died", None),
    ]


def test_a_helper_that_does_not_end_after_its_last_words_is_not_listened_to():
    """The log is not filled with them: what waited when it was killed is read once more."""
    events, _ = after_the_end_of(*[WORDS] * 20, stays=True)

    assert events == [*[("helper.fault", "monitor.helper-failed")] * 2, ("helper.died", None)]
