"""The monitor's own events: where they go, and that nobody who does not read stops it."""

import contextlib
import json
import os
import time

import pytest
from support.event_examples import NO_RULE

from supervisor.events.frames import Frame, FrameError, encode
from supervisor.events.log import LAST_WORDS_S, Log
from supervisor.events.stream import Emitted
from supervisor.events.vocabulary import (
    HelperReady,
    HelperRestarted,
    Lane,
    PolicyLoaded,
    PolicyRejected,
    StartStep,
)
from supervisor.monitor.record_server import LARGEST_GAP, Source

READY = HelperReady(helper="egress", pid=7)
REJECTED = PolicyRejected(generation=0, why=NO_RULE)


@pytest.fixture
def pipe():
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def read(end):
    try:
        return os.read(end, 1 << 20).decode("ascii").splitlines()
    except BlockingIOError:
        return []


def codes(lines):
    return [json.loads(line)["metadata"]["event_code"] for line in lines]


def test_both_forms_are_lines_of_the_same_record(pipe):
    Log(format="json", stream=pipe[1]).emit(READY)
    Log(format="text", stream=pipe[1]).emit(READY)
    as_json, as_text = read(pipe[0])

    assert json.loads(as_json)["metadata"] | {"version": "", "product": ""} == {
        "version": "", "product": "", "log_provider": "monitor", "sequence": 1,
        "event_code": "helper.ready",
    }  # fmt: skip
    assert as_text.endswith(" monitor#1 INFORMATIONAL helper.ready egress(7)")


def test_a_log_that_is_no_terminal_is_json_unless_told(pipe):
    assert Log(stream=pipe[1]).as_json


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["start.step", "helper.ready", "helper.restarted", "policy.rejected"]),
        ("info", ["helper.ready", "helper.restarted", "policy.rejected"]),
        ("warning", ["policy.rejected"]),
        ("error", ["policy.rejected"]),
    ],
)
def test_a_level_is_about_the_log_and_not_about_what_is_remembered(pipe, level, shown):
    log = Log(format="json", level=level, stream=pipe[1])
    remembered = []
    log.remember(lambda emitted: remembered.append(emitted.record) or True)
    for event in (
        StartStep(step="Prove", what="try it"),
        READY,
        HelperRestarted(helper="egress", pid=8, times=1),
        REJECTED,
    ):
        log.emit(event)

    assert codes(read(pipe[0])) == shown
    kept = [record["metadata"]["event_code"] for record in remembered]
    assert kept[-3:] == ["helper.ready", "helper.restarted", "policy.rejected"]


def test_a_raw_terminal_is_left_to_the_workload(pipe):
    log = Log(format="text", stream=pipe[1])
    log.raise_level("error")
    log.emit(READY)
    log.emit(REJECTED)

    (line,) = read(pipe[0])
    assert " policy.rejected " in line


def test_lines_for_people_take_the_place_of_the_record_in_their_log_only(pipe):
    remembered = []
    for form in ("text", "json"):
        log = Log(format=form, stream=pipe[1])
        log.remember(lambda emitted: remembered.append(emitted) or True)
        log.emit(READY, for_people="a table\nof two lines")

    *table, record = read(pipe[0])
    assert table == ["a table", "of two lines"]
    assert codes([record]) == ["helper.ready"]
    assert len(remembered) == 2


def test_a_log_that_nobody_reads_stops_nothing_and_what_waits_comes_later(pipe):
    log = Log(format="json", stream=pipe[1])
    os.set_blocking(pipe[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"\n" * 4096)
    os.set_blocking(pipe[1], True)

    for generation in range(1, 4):
        log.emit(PolicyLoaded(generation=generation))
    assert log.deadline() is not None
    began = time.monotonic()
    log.finish()
    assert time.monotonic() - began < 10 * LAST_WORDS_S

    while read(pipe[0]):
        pass
    log.on_time(time.monotonic())
    assert codes(read(pipe[0])) == ["policy.loaded"] * 3
    assert log.dropped == 0
    assert log.deadline() is None


def test_what_a_reader_of_events_misses_is_counted(pipe):
    log = Log(format="json", stream=pipe[1])
    log.remember(lambda _: False)
    for _ in range(300):
        log.emit(READY)

    assert log.dropped > 0
    assert log.sequence >= 300


def frame(sequence, lane=Lane.STATE):
    return encode(Frame(lane, sequence, b'{"n":%d}' % sequence))


def test_gaps_in_a_helpers_numbers_are_counted_over_its_lives():
    kept: list[Frame] = []
    source = Source(kept.append)
    for sequence in (1, 2, 5, 6, 10):
        source.take(frame(sequence))

    assert (source.last, source.dropped) == (10, 5)
    assert [one.sequence for one in kept] == [1, 2, 5, 6, 10]


@pytest.mark.parametrize("sequence", [0, 6, 7, 7 + LARGEST_GAP + 1, 2**64 - 1])
def test_numbers_that_no_stream_makes_are_refused(sequence):
    source = Source(lambda _: None)
    source.take(frame(7))
    with pytest.raises(FrameError):
        source.take(frame(sequence))
    assert (source.last, source.dropped) == (7, 6)


def test_a_stream_goes_on_with_the_numbers_of_the_one_before():
    from supervisor.events.stream import EventStream

    got: list[Emitted] = []
    stream = EventStream(
        source="egress",
        hostname="pod-1",
        sinks=(lambda emitted: got.append(emitted) or True,),
        sequence=41,
    )
    stream.emit(READY)
    assert got[0].sequence == 42
