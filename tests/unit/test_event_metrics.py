import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.event_examples import EXAMPLES

from supervisor.events.event_metrics import (
    EGRESS_PREFIX,
    FENCE_PREFIX,
    EgressMetrics,
    FenceMetrics,
    MonitorMetrics,
)
from supervisor.events.metrics import MAX_SERIES, Histogram, Metric, exposition
from supervisor.events.probe import MAX_HEAD, Health, Probe
from supervisor.events.status import HelperStatus, Status, health_of
from supervisor.monitor.monitor_metrics import monitor_text
from supervisor.startup.metrics import described

LINE = re.compile(
    r'[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\.)*"(,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? [-+0-9.e]+(inf|nan)?'
)
DAY = HelperStatus(name="egress", pid=None, state="serving", restarts=2)


def status(*helpers: HelperStatus) -> Status:
    return Status(
        state="running",
        health=health_of(helpers, is_running=True),
        workload_pid=7,
        started=1.7e9,
        policy_generation=3,
        helpers=helpers,
        tunnels=0,
        degraded=("pid-namespace",),
        records=1,
        forgotten=0,
        dropped=0,
    )


def texts() -> dict[str, str]:
    """The text of each process, after every kind of event."""
    egress, fence, monitor = EgressMetrics(), FenceMetrics(), MonitorMetrics()
    for event in EXAMPLES:
        for metrics in (egress, fence, monitor):
            metrics.observe(event)
    return {
        EGRESS_PREFIX: egress.text(tunnels=3, sessions=1, names_given=5),
        FENCE_PREFIX: fence.text(overruns=0),
        "sandbox_": monitor_text(monitor, status(DAY), records={"egress": (9, 2)}),
    }


def samples() -> dict[str, float]:
    return {
        f"{one.name}{one.labels or ''}": one.value
        for family in text_string_to_metric_families("".join(texts().values()))
        for one in family.samples
    }


def test_what_happened_is_counted():
    found = samples()

    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


EXPECTED = {
    "sandbox_egress_connections_total{'outcome': 'opened'}": 1,
    "sandbox_egress_connections_total{'outcome': 'refused'}": 1,
    "sandbox_egress_connections_total{'outcome': 'shed'}": 1,
    "sandbox_egress_denials_total{'code': 'network.no-rule'}": 2,
    "sandbox_egress_http_requests_total{'verdict': 'deny'}": 1,
    "sandbox_egress_http_requests_total{'verdict': 'audit'}": 0,
    "sandbox_egress_transferred_bytes_total{'direction': 'down'}": 194532,
    "sandbox_egress_connection_duration_seconds_bucket{'le': '10'}": 1,
    "sandbox_egress_connection_duration_seconds_count": 1,
    "sandbox_egress_dns_answers_total{'answer': 'given'}": 5,
    "sandbox_egress_dns_answers_total{'answer': 'refused'}": 1,
    "sandbox_egress_tunnels": 3,
    "sandbox_egress_sessions": 1,
    "sandbox_fence_blocked_attempts_total{'code': 'blocked.quic', 'protocol': 'udp'}": 1,
    "sandbox_policies_total{'outcome': 'loaded'}": 1,
    "sandbox_policy_generation": 3,
    "sandbox_helper_deaths_total{'helper': 'egress'}": 2,
    "sandbox_helper_restarts_total{'helper': 'egress'}": 2,
    "sandbox_helper_up{'helper': 'egress'}": 1,
    "sandbox_findings_total{'code': 'monitor.fence-changed'}": 1,
    "sandbox_records_total{'source': 'egress'}": 9,
    "sandbox_records_dropped_total{'source': 'egress'}": 2,
    "sandbox_control_degraded{'control': 'pid-namespace'}": 1,
    "sandbox_ready": 1,
}


def test_every_family_has_its_type_a_help_and_a_name_by_the_conventions():
    families = list(text_string_to_metric_families("".join(texts().values())))

    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.name.startswith("sandbox_")


def test_each_process_has_names_of_its_own():
    for prefix, text in texts().items():
        for line in text.splitlines():
            assert line.startswith((prefix, f"# HELP {prefix}", f"# TYPE {prefix}"))
    assert "sandbox_egress" not in texts()["sandbox_"]


@given(st.text(st.characters(exclude_categories=())))
def test_no_label_can_forge_a_line(label):
    metric = Metric("counter", "sandbox_x", "Means.", ("code",))
    metric.add(label)

    *_, line = exposition((metric,)).removesuffix("\n").split("\n")

    assert LINE.fullmatch(line)


def test_every_line_is_of_the_text_format():
    for line in "".join(texts().values()).splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or LINE.fullmatch(line), line


def test_the_number_of_series_is_bounded():
    metric = Metric("counter", "sandbox_x", "Means.", ("code",))
    for number in range(10 * MAX_SERIES):
        metric.add(str(number))

    assert len(list(metric.lines())) == MAX_SERIES + 3
    assert metric.value("other") == 9 * MAX_SERIES


def test_wrong_labels_are_an_error():
    with pytest.raises(ValueError, match="has the labels"):
        Metric("counter", "sandbox_x", "Means.", ("code",)).add("a", "b")


def test_buckets_are_cumulative_and_a_bound_is_inside_its_bucket():
    histogram = Histogram("sandbox_x", "Means.", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.observe(value)

    assert list(histogram.lines())[2:] == [
        'sandbox_x_bucket{le="1"} 2',
        'sandbox_x_bucket{le="2"} 3',
        'sandbox_x_bucket{le="+Inf"} 4',
        "sandbox_x_sum 102",
        "sandbox_x_count 4",
    ]


def probe(*, alive: bool = True, ready: bool = True, why_not: str = "") -> Probe:
    return Probe(health=lambda: Health(alive, ready, why_not), metrics=lambda: "sandbox_x 1\n")


def status_of(answer: bytes | None) -> int:
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head or not body
    return int(head.split(b" ")[1])


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET /healthz HTTP/1.1", 200),
        (b"GET /readyz HTTP/1.0", 200),
        (b"GET /metrics HTTP/1.1", 200),
        (b"HEAD /healthz HTTP/1.1", 200),
        (b"GET /healthz?x HTTP/1.1", 404),
        (b"GET / HTTP/1.1", 404),
        (b"POST /healthz HTTP/1.1", 405),
        (b"GET /healthz", 400),
        (b"GET /healthz HTTP/2.0", 400),
        (b"GET  /healthz HTTP/1.1", 400),
        (b"\x16\x03\x01\x00", 400),
    ],
)
def test_each_request_gets_its_status(request_line, expected):
    assert status_of(probe().feed(request_line + b"\r\nHost: x\r\n\r\n")) == expected


def test_a_request_may_come_in_pieces():
    one = probe()

    pieces = [one.feed(bytes([byte])) for byte in b"GET /metrics HTTP/1.1\r\n\r\n"]

    assert pieces[:-1] == [None] * (len(pieces) - 1)
    assert pieces[-1].endswith(b"\r\n\r\nsandbox_x 1\n")


def test_what_is_not_well_or_not_ready_says_why():
    sick = probe(alive=False, why_not="egress is down")
    waiting = probe(ready=False, why_not="the proof runs")

    assert status_of(sick.feed(b"GET /healthz HTTP/1.1\r\n\r\n")) == 503
    answer = waiting.feed(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert status_of(answer) == 503
    assert answer.endswith(b"the proof runs\n")
    assert status_of(probe(ready=False).feed(b"GET /healthz HTTP/1.1\r\n\r\n")) == 200


def test_a_request_without_an_end_is_bounded_and_a_broken_one_answered():
    assert status_of(probe().feed(b"x" * (MAX_HEAD + 1))) == 431
    one = probe()
    assert one.feed(b"GET /hea") is None
    assert status_of(one.feed(b"")) == 400


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer_or_are_waited_for(data):
    answer = probe().feed(data + b"\r\n\r\n")

    assert answer is None or answer.startswith(b"HTTP/1.1 ")


def test_readiness_says_what_it_is_without():
    egress = HelperStatus(name="egress", pid=1, state="serving", restarts=0)
    starting = HelperStatus(name="egress", pid=1, state="starting", restarts=0)

    assert described(status(egress)) == (True, True, "ok, without pid-namespace")
    assert described(replace(status(egress), degraded=())) == (True, True, "")
    assert described(status(starting)) == (True, False, "egress: starting")
