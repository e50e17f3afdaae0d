"""Errors that nobody expected: what is told of them, however odd they are."""

import json

from supervisor.errors import MAX_SAID, in_short, words_of
from supervisor.events.record import Stamp, record_of
from supervisor.events.record_supervisor import FRAMES
from supervisor.events.unexpected import fault_of


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def met(error, depth=0):
    """``error`` as it is caught, raised ``depth`` calls below."""

    def fall(left, secret="CANARY"):
        if left:
            fall(left - 1, secret)
        raise error

    try:
        fall(depth)
    except Exception as caught:
        return caught


def test_the_innermost_place_comes_first_in_a_line():
    line = in_short(met(ValueError("odd"), depth=9))

    words, *places = line.split("; at ")
    assert words == "ValueError: odd"
    assert [place.split()[-1] for place in places] == ["fall"] * 4


def test_an_error_without_words_or_with_none_that_can_be_had_is_its_kind():
    assert words_of(KeyError()) == "KeyError"
    assert words_of(Wordless()) == "Wordless"


def test_words_are_cut():
    assert words_of(ValueError("x" * 10 * MAX_SAID)) == "ValueError: " + "x" * MAX_SAID


def test_a_record_has_the_innermost_places_and_no_variable():
    record = record_of(
        fault_of("monitor", met(ValueError("odd"), depth=100)), Stamp("monitor", 1, 0, "pod-1")
    )

    trace = record["unmapped"]["trace"]
    assert len(trace) == FRAMES
    assert trace[-1].endswith(" fall")
    assert "CANARY" not in json.dumps(record)
