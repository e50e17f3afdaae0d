"""The netlink transport against a peer that misbehaves as a kernel may."""

import contextlib
import errno
import socket
import struct
import threading

import pytest

from supervisor.kernel import netlink
from supervisor.kernel.netlink import HEADER, NetlinkError, NetlinkSocket, Request

DUMP = Request(HEADER.pack(16, 99, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, 0, 0), "a dump")
CHANGE = Request(HEADER.pack(16, 98, netlink.NLM_F_REQUEST, 0, 0), "a change")


def message(kind: int, number: int, body: bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(16 + len(body), kind, flags, number, 0) + body


def error(number: int, code: int) -> bytes:
    return message(netlink.NLMSG_ERROR, number, struct.pack("=i", -code))


@contextlib.contextmanager
def conversation(answer):
    """A transport whose peer answers each datagram with ``answer(its sequence numbers)``."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve():
        while data := kernel.recv(1 << 16):
            numbers, start = [], 0
            while start < len(data):
                length, _, _, number, _ = HEADER.unpack_from(data, start)
                numbers.append(number)
                start += length
            for datagram in answer(numbers):
                kernel.send(datagram)

    peer = threading.Thread(target=serve)
    peer.start()
    try:
        with NetlinkSocket(ours) as channel:
            yield channel
    finally:
        peer.join()
        kernel.close()


def test_a_dump_that_was_interrupted_is_asked_again():
    asked = []

    def answer(numbers):
        asked.extend(numbers)
        flags = netlink.NLM_F_DUMP_INTR if len(asked) == 1 else 0
        yield message(7, numbers[0], b"some", flags) + message(netlink.NLMSG_DONE, numbers[0])

    with conversation(answer) as channel:
        found = channel.dump(DUMP)

    assert len(asked) == 2
    assert [item[16:] for item in found] == [b"some"]


def test_a_dump_that_is_always_interrupted_is_given_up():
    asked = []

    def answer(numbers):
        asked.extend(numbers)
        yield message(netlink.NLMSG_DONE, numbers[0], flags=netlink.NLM_F_DUMP_INTR)

    with conversation(answer) as channel, pytest.raises(NetlinkError) as refused:
        channel.dump(DUMP)

    assert refused.value.errno == errno.EINTR
    assert len(asked) == netlink.DUMP_ATTEMPTS


@pytest.mark.parametrize("ask", [lambda c: c.dump(DUMP), lambda c: c.batch([CHANGE])])
def test_silence_is_an_error_that_names_what_was_asked(ask, monkeypatch):
    monkeypatch.setattr(netlink, "ANSWER_TIMEOUT_S", 0.05)

    with conversation(lambda numbers: ()) as channel, pytest.raises(NetlinkError) as refused:
        ask(channel)

    assert refused.value.errno == errno.ETIMEDOUT
    assert refused.value.what in {"a dump", "batch of 1 requests"}


def test_a_batch_that_is_refused_as_a_whole_is_not_waited_for():
    def answer(numbers):
        yield error(numbers[0], errno.EPERM)

    with conversation(answer) as channel, pytest.raises(NetlinkError) as refused:
        channel.batch([CHANGE, CHANGE])

    assert str(refused.value) == "batch of 2 requests: Operation not permitted"


def test_the_first_refused_request_of_a_batch_is_the_one_named():
    def answer(numbers):
        _, first, second, third, _ = numbers
        yield error(first, 0)
        yield error(second, errno.ENOENT) + error(third, errno.EINVAL)

    requests = [CHANGE._replace(what=name) for name in ("one", "two", "three")]
    with conversation(answer) as channel, pytest.raises(NetlinkError) as refused:
        channel.batch(requests)

    assert (refused.value.what, refused.value.errno) == ("two", errno.ENOENT)


def test_a_late_answer_to_an_earlier_request_is_passed_over():
    def answer(numbers):
        yield error(numbers[0] - 1, errno.EBUSY) + error(numbers[0], 0)

    with conversation(answer) as channel:
        channel.request(CHANGE)


@pytest.mark.parametrize(
    ("datagram", "number"),
    [
        (bytes(netlink.RECEIVE_SIZE + 1), errno.EMSGSIZE),
        (HEADER.pack(4, 7, 0, 1, 0), errno.EBADMSG),
        (HEADER.pack(400, 7, 0, 1, 0), errno.EBADMSG),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error(datagram, number):
    with conversation(lambda numbers: (datagram,)) as channel:
        with pytest.raises(NetlinkError) as refused:
            channel.request(CHANGE)

    assert refused.value.errno == number
