import json

from support.event_examples import ALLOWED, CURL, EXAMPLES, NO_RULE, PYPI

from supervisor.events.denial_table import SEEN_AGAIN, SEEN_ONCE, DenialTable
from supervisor.events.limits import LIMITS, TokenBucket
from supervisor.events.stream import RESERVED, SUMS_S, Emitted, EventStream
from supervisor.events.vocabulary import (
    ConnectionOpened,
    ConnectionRefused,
    Endpoint,
    Lane,
    PolicyLoaded,
)

OPENED = ConnectionOpened(actors=(CURL,), destination=PYPI, why=ALLOWED)


def refused(host: str = "exfil.example") -> ConnectionRefused:
    return ConnectionRefused(
        actors=(CURL,), destination=Endpoint(host=host, port=443), why=NO_RULE, request_id="r-1"
    )


class Reader:
    """A sink that can be stopped; and the clock of its stream."""

    def __init__(self):
        self.now = 100.0
        self.open = True
        self.got = []

    def __call__(self, emitted: Emitted) -> bool:
        if self.open:
            self.got.append(emitted)
        return self.open

    def stream(self) -> EventStream:
        return EventStream(
            source="egress",
            hostname="pod-1",
            sinks=(self,),
            clock=lambda: self.now,
            wall=lambda: self.now + 1.7e9,
        )

    def codes(self) -> list[str]:
        return [one.record["metadata"]["event_code"] for one in self.got]

    def numbers(self) -> list[int]:
        return [one.sequence for one in self.got]


def test_numbers_rise_by_one_and_are_in_the_record():
    reader = Reader()
    stream = reader.stream()

    for event in EXAMPLES:
        stream.emit(event)

    assert reader.numbers() == list(range(1, len(EXAMPLES) + 1))
    assert [one.record["metadata"]["sequence"] for one in reader.got] == reader.numbers()


def test_a_flood_of_allows_leaves_a_gap_a_summary_and_every_denial():
    reader = Reader()
    stream = reader.stream()
    burst = int(LIMITS[Lane.ALLOWED].burst)

    for _ in range(burst + 700):
        stream.emit(OPENED)
    stream.emit(refused())
    reader.now += 2
    stream.emit(OPENED)

    assert reader.codes()[burst:] == ["connection.refused", "records.dropped", "connection.opened"]
    summary = reader.got[burst + 1].record
    assert summary["unmapped"]["dropped"] == {"allowed": 700}
    assert (summary["unmapped"]["first"], summary["unmapped"]["last"]) == (burst + 1, burst + 700)
    assert reader.numbers()[burst - 1 :] == [burst, burst + 701, burst + 702, burst + 703]


def test_every_missing_number_is_counted_in_a_summary():
    reader = Reader()
    stream = reader.stream()

    for turn in range(5000):
        stream.emit(OPENED if turn % 3 else refused(f"h{turn}.example"))
        reader.now += 0.0001
    reader.now += 5
    stream.tick()

    told = [
        one.record["count"] for one in reader.got if one.record["class_name"] == "Application Error"
    ]
    assert stream.sequence - len(reader.got) == sum(told) == sum(stream.dropped.values()) > 0


def test_denials_wait_for_a_reader_that_stands_still_and_allows_do_not():
    reader = Reader()
    stream = reader.stream()
    reader.open = False

    for _ in range(50):
        stream.emit(OPENED)
        stream.emit(refused())
    reader.open = True
    stream.tick()

    assert reader.codes().count("connection.refused") == 50
    assert "connection.opened" not in reader.codes()
    assert stream.dropped[Lane.ALLOWED] == 50


def test_what_waited_is_written_before_what_is_new():
    reader = Reader()
    stream = reader.stream()
    reader.open = False
    stream.emit(refused())
    reader.open = True

    stream.emit(OPENED)

    assert reader.numbers() == [1, 2]


def test_what_waits_for_a_reader_is_bounded():
    reader = Reader()
    stream = reader.stream()
    reader.open = False

    for turn in range(2 * RESERVED):
        reader.now += 1
        stream.emit(refused(f"h{turn}.example"))
    reader.open = True
    stream.tick()

    # A summary of what was lost had its place in the reserve, too.
    assert RESERVED <= len(reader.got) <= RESERVED + 1


def test_a_flood_of_denials_does_not_hide_the_supervisors_own_events():
    reader = Reader()
    stream = reader.stream()

    for _ in range(10_000):
        stream.emit(refused())
    stream.emit(PolicyLoaded(generation=2))

    assert reader.codes()[-1] == "policy.loaded"


def test_repeated_denials_are_summed_with_their_count():
    reader = Reader()
    stream = reader.stream()

    for _ in range(10_000):
        stream.emit(refused())
    reader.now += SUMS_S
    stream.tick()
    reader.now += SUMS_S
    stream.tick()

    (summed,) = [
        one.record for one in reader.got if one.record["metadata"]["event_code"] == "denials.summed"
    ]
    assert (summed["count"], summed["unmapped"]["total"]) == (9999, 10_000)
    (line,) = stream.denials
    assert (line.count, line.request_id, line.key.host) == (10_000, "r-1", "exfil.example")


def test_made_up_names_push_out_one_another_and_not_what_repeats():
    table = DenialTable()
    for when in range(3):
        table.add(refused("steady.example"), float(when))

    for number in range(10_000):
        table.add(refused(f"{number}.example"), 5.0)

    assert next(iter(table)).key.host == "steady.example"
    assert len(table) == SEEN_ONCE + 1
    assert table.evicted_keys == table.evicted_denials == 10_000 - SEEN_ONCE


def test_the_table_of_denials_is_bounded_and_counts_what_it_forgets():
    table = DenialTable()
    for number in range(2000):
        table.add(refused(f"{number}.example"), 1.0)
        table.add(refused(f"{number}.example"), 2.0)

    assert len(table) == SEEN_AGAIN
    assert sum(one.count for one in table) + table.evicted_denials == 4000


def test_an_allowed_connection_is_no_denial():
    table = DenialTable()

    table.add(OPENED, 1.0)

    assert len(table) == 0


def test_a_clock_that_steps_back_gives_no_tokens():
    bucket = TokenBucket.full(LIMITS[Lane.STATE], 100.0)
    while bucket.take(100.0):
        pass

    assert not bucket.take(50.0)
    assert not bucket.take(50.05)


def test_a_record_is_whole_json_in_the_stream():
    reader = Reader()
    reader.stream().emit(refused())

    assert json.loads(reader.got[0].json) == reader.got[0].record
    assert b"connection.refused" in reader.got[0].text
