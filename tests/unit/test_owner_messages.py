import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.owner_messages import (
    MAX_EXECUTABLES,
    MAX_HOLDERS,
    Answer,
    Holder,
    MessageError,
    Outcome,
    Question,
    decode_answer,
    decode_questions,
    encode_answer,
    encode_questions,
)

U64 = st.integers(0, 2**64 - 1)
PATHS = st.lists(
    st.binary(min_size=1, max_size=60).filter(lambda p: b"\0" not in p), min_size=1, max_size=5
)


@st.composite
def answers(draw):
    paths = tuple(draw(PATHS))
    index = st.integers(0, len(paths) - 1)
    holder = st.builds(
        Holder,
        pid=st.integers(1, 2**32 - 1),
        start_time=U64,
        executable=index,
        ancestors=st.lists(index, max_size=6).map(tuple),
    )
    holders = tuple(draw(st.lists(holder, min_size=1, max_size=4)))
    return Answer(question_id=draw(U64), outcome=Outcome.FOUND, executables=paths, holders=holders)


@given(st.lists(st.builds(Question, U64, U64, st.integers(0, 2**32 - 1)), min_size=1, max_size=64))
def test_questions_survive_the_way(questions):
    assert decode_questions(encode_questions(questions)) == questions


def test_more_questions_than_the_monitor_queues_are_no_message():
    with pytest.raises(MessageError):
        decode_questions(encode_questions([Question(1, 2, 3)] * 65))


@given(answers())
def test_an_answer_survives_the_way(answer):
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize("outcome", [Outcome.VANISHED, Outcome.UNREADABLE, Outcome.OVER_BUDGET])
def test_an_answer_without_holders_says_why(outcome):
    answer = Answer(question_id=7, outcome=outcome)
    assert decode_answer(encode_answer(answer)) == answer


@given(st.binary(max_size=80))
def test_other_bytes_are_no_message(data):
    for decode in (decode_questions, decode_answer):
        try:
            decode(data)
        except MessageError as error:
            assert str(error)  # noqa: PT017


@given(answers(), st.data())
def test_a_shortened_or_lengthened_answer_is_no_message(answer, data):
    packet = encode_answer(answer)
    cut = data.draw(st.integers(0, len(packet) - 1))
    for broken in (packet[:cut], packet + b"x"):
        with pytest.raises(MessageError):
            decode_answer(broken)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(question_id=1, outcome=Outcome.FOUND),
        Answer(
            question_id=1,
            outcome=Outcome.FOUND,
            executables=(b"/a",),
            holders=(Holder(pid=1, start_time=1, executable=1, ancestors=()),),
        ),
        Answer(
            question_id=1,
            outcome=Outcome.FOUND,
            executables=(b"/a",) * (MAX_EXECUTABLES + 1),
            holders=(Holder(pid=1, start_time=1, executable=0, ancestors=()),),
        ),
        Answer(
            question_id=1,
            outcome=Outcome.FOUND,
            executables=(b"/a",),
            holders=(Holder(pid=1, start_time=1, executable=0, ancestors=()),) * (MAX_HOLDERS + 1),
        ),
        Answer(
            question_id=1,
            outcome=Outcome.FOUND,
            executables=(b"/a\0b",),
            holders=(Holder(pid=1, start_time=1, executable=0, ancestors=()),),
        ),
    ],
)
def test_what_breaks_a_bound_is_never_sent(answer):
    with pytest.raises(MessageError):
        encode_answer(answer)
