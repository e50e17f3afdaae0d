"""The packets between the halves of a pod: nothing but a whole, known message is ever read."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.sidecar import frames
from supervisor.sidecar.frames import (
    TOKEN_BYTES,
    Alive,
    Exited,
    FrameError,
    Hello,
    Noted,
    OnLoss,
    Ready,
    Refused,
    SkewError,
    Started,
    Stop,
    Terminate,
    Update,
    Welcome,
    decode_from_agent,
    decode_from_sidecar,
    encode,
)
from supervisor.sidecar.version import PROTOCOL, RELEASE

TOKENS = st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES)
RELEASES = st.text(max_size=40)
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
FROM_AGENT = st.one_of(
    st.builds(Hello, on_loss=st.sampled_from(OnLoss), token=TOKENS, release=RELEASES),
    st.builds(Started, pid=U32, start_time=U64),
    st.builds(Exited, status=st.integers(0, 255)),
    st.just(Alive()),
)
FROM_SIDECAR = st.one_of(
    st.builds(Welcome, generation=U32, token=TOKENS, release=RELEASES),
    st.builds(Update, generation=U32),
    st.builds(
        Refused, code=st.text(max_size=60).filter(lambda text: "\0" not in text), cause=RELEASES
    ),
    st.sampled_from([Ready(), Stop(), Terminate(), Noted(), Alive()]),
)


@given(FROM_AGENT)
def test_what_the_agent_says_is_what_the_sidecar_reads(message):
    assert decode_from_agent(encode(message)) == message


@given(FROM_SIDECAR)
def test_what_the_sidecar_says_is_what_the_agent_reads(message):
    assert decode_from_sidecar(encode(message)) == message


@given(FROM_SIDECAR.filter(lambda message: message != Alive()))
def test_the_agent_cannot_speak_for_the_sidecar(message):
    with pytest.raises(FrameError):
        decode_from_agent(encode(message))


@given(FROM_AGENT.filter(lambda message: message != Alive()))
def test_the_sidecar_cannot_speak_for_the_agent(message):
    with pytest.raises(FrameError):
        decode_from_sidecar(encode(message))


@given(st.binary(max_size=2 * frames.MAX_PACKET))
def test_any_other_bytes_are_refused_and_nothing_else_happens(packet):
    for decode in (decode_from_agent, decode_from_sidecar):
        try:
            message = decode(packet)
        except FrameError:
            continue
        assert encode(message) == packet


@given(FROM_AGENT, st.binary(min_size=1, max_size=8))
def test_a_fixed_message_with_more_behind_it_is_refused(message, more):
    if isinstance(message, Hello):
        return  # its text ends the packet
    with pytest.raises(FrameError):
        decode_from_agent(encode(message) + more)


@given(FROM_AGENT, st.integers(0, 2**16 - 1).filter(lambda number: number != PROTOCOL))
def test_another_protocol_is_told_apart_whatever_follows(message, protocol):
    packet = bytearray(encode(message))
    packet[4:6] = protocol.to_bytes(2, "little")

    with pytest.raises(SkewError) as caught:
        decode_from_agent(bytes(packet))

    assert caught.value.found == protocol


# Repeated, because Hypothesis draws a long text letter by letter: 2000 of them took minutes. What comes
# before moves the place of the cut to each byte of a letter.
LONG_TEXTS = st.builds(
    lambda before, again: before + again * frames.MAX_TEXT,
    st.text(max_size=4),
    st.text(min_size=1, max_size=4),
)


@given(LONG_TEXTS)
def test_a_long_cause_is_cut_and_still_a_message(cause):
    packet = encode(Refused(code="sidecar.protocol", cause=cause))

    assert len(packet) <= frames.MAX_PACKET
    read = decode_from_sidecar(packet)
    assert isinstance(read, Refused)
    assert cause.startswith(read.cause)


def test_the_release_is_that_of_the_project():
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == RELEASE
