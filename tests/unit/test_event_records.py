import json
import re
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.any_event import EVENTS, NASTY, TEXT
from support.event_examples import ALLOWED, CURL, EXAMPLES, stamp

import scripts.event_examples as golden
from supervisor.events.frames import MAX_RECORD
from supervisor.events.line import line_of
from supervisor.events.record import record_of
from supervisor.events.text import as_json, free_text, url_path
from supervisor.events.vocabulary import (
    Actor,
    ConnectionClosed,
    ConnectionRefused,
    Endpoint,
    Event,
    HttpRequest,
    Verdict,
    Why,
)

PRINTABLE = re.compile(rb"[\x20-\x7e]+")
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
# What no record may hold, wherever in an event it was.
CANARY = "CANARY7f3a"


def both_forms(event: Event) -> tuple[bytes, bytes]:
    record = record_of(event, stamp(1))
    return as_json(record).encode("ascii"), line_of(record).encode("ascii")


def test_the_examples_are_what_the_code_makes():
    assert golden.TARGET.read_text() == golden.document()


def test_every_kind_of_event_has_an_example():
    assert {type(event) for event in EXAMPLES} == set(get_args(Event))


@SLOW
@given(EVENTS)
def test_no_value_can_end_a_line_or_move_the_terminal(event):
    as_object, as_line = both_forms(event)

    assert PRINTABLE.fullmatch(as_object)
    assert PRINTABLE.fullmatch(as_line)
    assert len(as_object) <= MAX_RECORD


def reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@SLOW
@given(EVENTS)
def test_json_parses_strictly_and_is_valid_unicode(event):
    as_object, _ = both_forms(event)

    found = json.loads(as_object, parse_constant=reject_constant)

    json.dumps(found, ensure_ascii=False).encode("utf-8")  # no lone surrogate is left
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
    assert found["metadata"]["version"] == "1.8.0"


WORDS = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')


@SLOW
@given(TEXT, TEXT)
def test_no_value_forges_a_field_of_the_line(host, cause):
    """Words inside quotes are one word: the line has the same fields whatever they hold."""
    event = ConnectionRefused(
        actors=(Actor(pid=1, binary=host),),
        destination=Endpoint(host=host, port=443),
        why=Why(code="network.no-rule", cause=f"x{cause}", remedy=f"y{host}"),
    )
    words = WORDS.findall(both_forms(event)[1].decode())

    keys = [word.partition("=")[0] for word in words[7:]]
    assert words[3] == "connection.refused"
    assert keys == ["code", "cause", "remedy"]


def canary_request(**changes: object) -> HttpRequest:
    fields: dict[str, object] = {
        "actors": (CURL,),
        "destination": Endpoint(host="mirror.example", port=80),
        "method": "GET",
        "path": "/x",
        "verdict": Verdict.DENY,
        "status": 403,
        "why": ALLOWED,
    }
    return HttpRequest(**(fields | changes))


@pytest.mark.parametrize(
    "event",
    [
        canary_request(path=f"/x?q={CANARY}"),
        canary_request(path=f"/x#{CANARY}"),
        canary_request(path=f"/x?{CANARY}"),
        canary_request(destination=Endpoint(host=f"user:{CANARY}@mirror.example", port=80)),
        *(
            canary_request(why=Why(code="c", cause=cause))
            for cause in (
                f"http://user:{CANARY}@host/ failed",
                f"proxy said: Proxy-Authorization: Basic {CANARY}",
                f"Authorization: Bearer {CANARY}",
                f"Authorization: {CANARY} {CANARY}",
                f"Cookie: a={CANARY}; b={CANARY}",
                f"GET /x?a={CANARY}&b={CANARY} refused",
                f"GET /x?{CANARY} refused",
                f"password={CANARY} was wrong",
                f'{{"api_key": "{CANARY}"}}',
                f"X-Api-Key: {CANARY}",
                f"bearer {CANARY}",
                f"ftp://{CANARY}@host",
            )
        ),
    ],
)
def test_queries_and_credentials_are_in_no_form_of_a_record(event):
    for form in both_forms(event):
        assert CANARY.encode() not in form
        assert b"[redacted]" in form or b"mirror.example" in form


def test_a_cause_without_secrets_stays_as_it_is():
    cause = "the hello names a.example, not b.example (port 443); is that a token?"

    assert free_text(cause) == cause


def test_that_there_was_a_query_is_told():
    assert url_path("/a/b?x=1") == "/a/b?[redacted]"
    assert url_path("/a/b") == "/a/b"


def test_parents_are_inside_one_another_nearest_first():
    record = record_of(EXAMPLES[0], stamp(1))

    process = record["actor"]["process"]
    assert process["parent_process"]["name"] == "/usr/bin/bash"
    assert process["parent_process"]["parent_process"] == {"name": "/usr/bin/node"}


def test_a_cause_of_megabytes_is_cut_between_words():
    assert len(free_text("a=b?" * 1_000_000)) < 100
    assert len(free_text("word " * 1_000_000)) < 600


@pytest.mark.parametrize("before", range(460, 520))
def test_a_credential_at_the_cut_is_not_shown_by_halves(before):
    text = "x" * before + f" http://user:{CANARY}{CANARY}@host/ password='a {CANARY}' end"

    assert "CANARY" not in free_text(text)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_duration_that_is_no_number_is_null(seconds):
    event = ConnectionClosed(
        actors=(),
        destination=Endpoint(ip="192.0.2.1"),
        how="closed",
        bytes_up=0,
        bytes_down=0,
        seconds=seconds,
    )

    assert json.loads(both_forms(event)[0])["duration"] is None


FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(NASTY) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "port", "process", "x"]) | st.text(), inner)
    ),
    max_leaves=8,
)


@SLOW
@given(
    st.dictionaries(
        st.sampled_from(["time", "metadata", "actor", "dst_endpoint", "unmapped", "severity"]),
        FOREIGN,
    )
)
def test_a_line_comes_out_of_any_record_that_another_process_sent(record):
    assert PRINTABLE.fullmatch(line_of(record).encode("ascii"))
