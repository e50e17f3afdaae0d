"""What a helper that fails says to the monitor, over the channel that it was given."""

import os
import socket

import pytest

from supervisor.monitor import last_words
from supervisor.monitor.blocked_watcher import watch
from supervisor.monitor.metrics_responder import respond


def words_of(helper):
    """Run ``helper`` in a fork with one end of a channel; its exit status, and what it said."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        helper(theirs.detach())
    theirs.close()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with ours:
        return status, last_words.heard(ours.recv(last_words.MAX_WORDS))


def closed():
    """The number of a descriptor that is none."""
    descriptor = os.dup(2)
    os.close(descriptor)
    return descriptor


def test_a_watcher_whose_socket_is_closed_says_so_and_ends():
    status, words = words_of(
        lambda channel: watch(
            uid=None,
            nflog=closed(),
            channel=channel,
            log=False,
            log_json=True,
            log_level="info",
            sequence=0,
            metrics=None,
        )
    )

    assert status == 1
    assert words.startswith("OSError: [Errno 9] Bad file descriptor; at ")
    assert "blocked_watcher.py" in words


def test_a_responder_that_may_not_change_its_user_says_so_and_ends():
    def without_privilege(channel):
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(4242, 4242, 4242)
            os.setresuid(4242, 4242, 4242)
        respond(uid=4343, channel=channel, pages=())

    status, words = words_of(without_privilege)

    assert status == 1
    assert "Operation not permitted" in words


@pytest.mark.parametrize("packet", [b"H", b"", b"\0\0\0\0" + bytes(8) + b"{}"])
def test_a_sign_of_life_and_a_record_are_no_last_words(packet):
    assert last_words.heard(packet) is None


def test_words_are_cut_and_need_not_be_text():
    assert last_words.heard(b"!\xff" + b"x" * 5000) == "\ufffd" + "x" * (last_words.MAX_WORDS - 2)
