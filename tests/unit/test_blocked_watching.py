"""What the watcher says, and when: messages and sums."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.monitor.blocked_messages import (
    MAX_PACKET,
    MAX_RULE,
    Blocked,
    Kind,
    MessageError,
    decode,
    encode,
    encode_alive,
)
from supervisor.monitor.blocked_sums import KINDS, SUM_S, BlockedSums

IDS = st.none() | st.integers(0, 0xFFFFFFFE)
KINDS_OF_PACKETS = st.builds(
    Kind,
    rule=st.text("abc -19", max_size=MAX_RULE),
    uid=IDS,
    gid=IDS,
    protocol=st.integers(0, 255),
    destination=st.ip_addresses(v=4) | st.ip_addresses(network="2000::/3"),
    port=st.none() | st.integers(0, 65535),
)


def kind(port=443):
    return Kind("blocked out", 4242, 4242, 17, ip_address("203.0.113.9"), port)


@given(st.builds(Blocked, st.none() | KINDS_OF_PACKETS, st.integers(1, 1 << 60)))
def test_what_is_encoded_is_decoded(blocked):
    packet = encode(blocked)
    assert len(packet) <= MAX_PACKET
    assert decode(packet) == blocked


@given(st.text(max_size=200))
def test_a_rules_name_cannot_forge_a_line(rule):
    blocked = decode(encode(Blocked(kind()._replace(rule=rule), 1)))
    assert blocked.kind.rule.isprintable()
    assert blocked.kind.rule.isascii()


@given(st.binary(max_size=MAX_PACKET + 10))
def test_other_packets_raise_nothing_else(packet):
    try:
        told = decode(packet)
    except MessageError:
        return
    assert told is None or told.times > 0


@pytest.mark.parametrize(
    "packet",
    [b"", encode_alive()[:-1], b"X" + encode_alive()[1:], b"O" + encode_alive()[1:],
     encode(Blocked(kind(), 1)) + b"\n", encode(Blocked(kind(), 1)) + b"a" * MAX_RULE],
)  # fmt: skip
def test_a_packet_that_is_none_is_refused(packet):
    with pytest.raises(MessageError):
        decode(packet)


def test_alive_says_nothing():
    assert decode(encode_alive()) is None


def test_the_first_of_a_kind_is_told_at_once_and_repeats_as_one_number():
    sums = BlockedSums()
    assert sums.add(kind(), 100.0) == Blocked(kind(), 1)
    assert [sums.add(kind(), 101.0) for _ in range(500)] == [None] * 500
    assert sums.due(100.0 + SUM_S - 0.1) == []
    assert sums.due(100.0 + SUM_S) == [Blocked(kind(), 500)]


def test_what_goes_on_is_summed_up_without_a_new_first():
    sums = BlockedSums()
    sums.add(kind(), 0.0)
    sums.add(kind(), 1.0)
    assert sums.due(SUM_S) == [Blocked(kind(), 1)]
    assert sums.add(kind(), SUM_S + 1) is None
    assert sums.due(2 * SUM_S) == [Blocked(kind(), 1)]


def test_what_did_not_repeat_is_forgotten_and_nothing_is_due():
    sums = BlockedSums()
    sums.add(kind(), 0.0)
    assert sums.due_at == SUM_S
    assert sums.due(SUM_S) == []
    assert sums.due_at is None
    assert sums.add(kind(), 50.0) == Blocked(kind(), 1)


def test_more_kinds_than_are_told_apart_become_one_number():
    sums = BlockedSums()
    told = [sums.add(kind(port), 0.0) for port in range(3 * KINDS)]
    assert sum(one is not None for one in told) == KINDS
    sums.lost(5, 0.0)
    assert sums.due(SUM_S) == [Blocked(None, 2 * KINDS + 5)]


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 30)), max_size=300))
def test_nothing_is_told_twice_and_nothing_is_lost(attempts):
    sums, told, now = BlockedSums(), [], 0.0
    for port, later in attempts:
        now += later
        told += sums.due(now)
        first = sums.add(kind(port), now)
        told += [] if first is None else [first]
    told += sums.due(now + SUM_S)
    assert sum(one.times for one in told) == len(attempts)
