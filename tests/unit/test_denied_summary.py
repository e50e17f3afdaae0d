"""``status`` counts a denial once, whether it reads single records, sums of them, or both."""

import pytest
from support.event_examples import CURL, NO_RULE

from supervisor.events.blocked import attempt
from supervisor.events.denied_summary import DeniedSummary
from supervisor.events.sinks import LogSink
from supervisor.events.stream import SUMS_S, Emitted, EventStream
from supervisor.events.vocabulary import Actor, ConnectionRefused, DnsRefused, Endpoint

EVIL = Endpoint(host="exfil.example", port=443)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            ConnectionRefused(actors=(CURL,), destination=EVIL, why=NO_RULE),
            ("exfil.example", 443, "/usr/bin/curl"),
        ),
        (
            ConnectionRefused(actors=(Actor(),), destination=EVIL, why=NO_RULE),
            ("exfil.example", 443, "unknown"),
        ),
        (
            ConnectionRefused(actors=(), destination=EVIL, why=NO_RULE),
            ("exfil.example", 443, "-"),
        ),
        (DnsRefused(name="x.example", kind="any", why=NO_RULE), ("x.example", 53, "-")),
        (
            attempt(uid=1, gid=1, protocol=17, destination="192.0.2.7", port=443),
            ("192.0.2.7", 443, "-"),
        ),
    ],
)
def test_sums_and_single_records_are_one_line(event, expected):
    now = [0.0]
    summary = DeniedSummary()

    def read(emitted: Emitted) -> bool:
        summary.add(emitted.record)
        return True

    stream = EventStream(
        source="egress",
        hostname="pod-1",
        sinks=(read,),
        clock=lambda: now[0],
        wall=lambda: 1.7e9 + now[0],
    )
    for _ in range(3):
        stream.emit(event)
    now[0] += SUMS_S
    stream.tick()
    stream.emit(event)

    (one,) = summary.most_frequent()
    assert (one.host, one.port, one.program) == expected
    assert one.count == 4


def test_a_log_shows_what_its_level_is_for(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        stream = EventStream(
            source="egress",
            hostname="pod-1",
            sinks=(LogSink(file.fileno(), form="text", least=4),),
        )
        stream.emit(ConnectionRefused(actors=(CURL,), destination=EVIL, why=NO_RULE))

    assert (tmp_path / "log").read_bytes() == b""
    assert not stream.is_waiting
