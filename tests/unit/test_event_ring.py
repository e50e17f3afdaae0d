import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.events.follow import Follower, FrameTooLong, LineReader, parse_object
from supervisor.events.frames import MAX_RECORD, Frame, FrameError, decode, encode
from supervisor.events.ring import RECORDS, RING_BYTES, EventRing
from supervisor.events.vocabulary import Lane


def frame(number: int, lane: Lane = Lane.ALLOWED, size: int = 0) -> Frame:
    return Frame(lane, number, b'{"n":%d,"x":"%s"}' % (number, b"x" * size))


def everything(follower: Follower) -> list[dict]:
    found = b""
    while data := follower.pending():
        found += data
        follower.sent(len(data))
    return [json.loads(line) for line in found.splitlines()]


@given(
    st.sampled_from(Lane),
    st.integers(0, 2**64 - 1),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_a_frame_comes_back_as_it_went(lane, sequence, text):
    whole = Frame(lane, sequence, b"{" + text.encode() + b"}")

    assert decode(encode(whole)) == whole


@given(st.binary(max_size=80))
def test_any_packet_is_a_frame_of_one_printable_line_or_an_error(packet):
    try:
        found = decode(packet)
    except FrameError:
        return
    assert found.record.isascii()
    assert found.record.decode().isprintable()


@pytest.mark.parametrize(
    "record",
    [
        b"{\n}",
        b'{"a":"\x1b[2J"}',
        b'{"a":"\xff"}',
        b"{\x7f}",
        b"[]",
        b"{} x",
        b"{" * (MAX_RECORD + 1),
    ],
)
def test_a_record_that_could_forge_a_line_is_no_frame(record):
    with pytest.raises(FrameError):
        decode(b"\x01" + bytes(11) + record)


def test_an_unknown_lane_is_an_error():
    with pytest.raises(FrameError):
        decode(b"\x09" + bytes(11) + b"{}")


def test_what_is_kept_comes_in_the_order_of_arrival():
    ring = EventRing()
    for number in range(10):
        ring.add(frame(number, Lane.DENIED if number % 3 else Lane.STATE))

    *events, end = everything(Follower(ring, only_denied=False, follow=False))

    assert [one["event"]["n"] for one in events] == list(range(10))
    assert end == {"end": {"forgotten": 0}}


def test_denials_alone_can_be_asked_for():
    ring = EventRing()
    for number, lane in enumerate(Lane):
        ring.add(frame(number, lane))

    *events, _ = everything(Follower(ring, only_denied=True, follow=False))

    assert [one["event"]["n"] for one in events] == [1, 2]


def test_a_flood_of_allows_pushes_no_denial_out():
    ring = EventRing()
    ring.add(frame(0, Lane.DENIED))
    for number in range(1, 3 * RECORDS):
        ring.add(frame(number))

    first = everything(Follower(ring, only_denied=False, follow=False))[0]

    assert first["event"]["n"] == 0
    assert ring.forgotten == 2 * RECORDS - 1


def test_the_ring_is_bounded_in_bytes():
    ring = EventRing()
    for number in range(200):
        ring.add(frame(number, size=40_000))

    kept = everything(Follower(ring, only_denied=False, follow=False))

    assert 40_000 * (len(kept) - 1) <= RING_BYTES
    assert len(kept) > 20


def test_a_follower_gets_what_happens_later():
    ring = EventRing()
    follower = Follower(ring, only_denied=False, follow=True)
    assert follower.pending() == b""

    ring.add(frame(7))

    assert everything(follower)[0]["event"]["n"] == 7
    assert not follower.is_over


def test_a_slow_follower_is_cut_with_the_number_it_missed_after_a_whole_line():
    ring = EventRing()
    follower = Follower(ring, only_denied=False, follow=True)
    ring.add(frame(0))
    started = follower.pending()[:5]
    follower.sent(5)

    for number in range(1, RECORDS + 50):
        ring.add(frame(number))
    rest = b""
    while data := follower.pending():
        rest += data[:10]
        follower.sent(10)

    first, cut = (started + rest).splitlines()
    assert json.loads(first)["event"]["n"] == 0
    assert json.loads(cut)["cut"]["missed"] == 49
    assert follower.is_cut
    assert follower.is_over


def test_a_follower_of_denials_is_not_cut_by_a_flood_of_allows():
    ring = EventRing()
    follower = Follower(ring, only_denied=True, follow=True)

    for number in range(3 * RECORDS):
        ring.add(frame(number))
    ring.add(frame(1, Lane.DENIED))

    assert everything(follower) == [{"event": {"n": 1, "x": ""}}]


@given(st.lists(st.binary(max_size=20).map(lambda it: it.replace(b"\n", b""))), st.integers(1, 9))
def test_lines_come_out_however_the_bytes_are_cut(lines, step):
    data = b"".join(line + b"\n" for line in lines)
    reader = LineReader(20)

    found = [line for at in range(0, len(data), step) for line in reader.feed(data[at : at + step])]

    assert found == lines


def test_a_line_without_an_end_is_an_error():
    reader = LineReader(10)
    reader.feed(b"12345")

    with pytest.raises(FrameTooLong):
        reader.feed(b"678901")


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b"[" * 40_000, b"7"])
def test_what_is_no_json_object_is_a_value_error(line):
    with pytest.raises(ValueError, match=r"\w"):
        parse_object(line)
