"""Numbers that one process leaves for another, and what the monitor gives with a connection."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.events.metrics_page import PAGE_BYTES, clear_page, read_page, write_page
from supervisor.events.probe import Health
from supervisor.events.status import HelperStatus, health_of
from supervisor.monitor.metrics_state import State, decode, encode

PREFIX = "sandbox_egress_"
TEXT = f"# HELP {PREFIX}x Means.\n# TYPE {PREFIX}x counter\n{PREFIX}x 1\n"


@pytest.fixture
def page():
    descriptor = os.memfd_create("metrics")
    yield descriptor
    os.close(descriptor)


def test_what_was_written_last_is_read(page):
    assert read_page(page, PREFIX) == ""
    write_page(page, TEXT + f"{PREFIX}more 2\n")
    write_page(page, TEXT)
    assert read_page(page, PREFIX) == TEXT


def test_a_page_whose_writer_is_gone_is_empty(page):
    write_page(page, TEXT)
    clear_page(page)
    assert read_page(page, PREFIX) == ""


def test_a_half_written_page_is_not_read(page):
    write_page(page, TEXT)
    os.pwrite(page, b"!", 20)
    assert read_page(page, PREFIX) == ""


@pytest.mark.parametrize(
    "forged",
    [
        "sandbox_ready 1",
        "# HELP sandbox_ready x",
        "# TYPE sandbox_ready gauge",
        "\r\nsandbox_ready 1",
        f"{PREFIX}x 1\rsandbox_ready 1",
        f"{PREFIX}x\x1b[2J 1",
    ],
)
def test_a_writer_that_was_taken_over_speaks_for_itself_only(page, forged):
    write_page(page, f"{TEXT}{forged}\n")
    assert read_page(page, PREFIX) == TEXT


@given(st.binary(max_size=200))
def test_any_bytes_in_a_page_are_read_without_an_error(raw):
    descriptor = os.memfd_create("metrics")
    os.pwrite(descriptor, raw, 0)
    read_page(descriptor, PREFIX)
    os.close(descriptor)


def test_a_page_is_bounded(page):
    with pytest.raises(ValueError, match="metrics of"):
        write_page(page, "x" * PAGE_BYTES)


@given(st.booleans(), st.booleans(), st.text(max_size=100), st.text("ab {}\n", max_size=100))
def test_a_state_comes_out_as_it_went_in(alive, ready, why, text):
    state = State(Health(alive, ready, why.encode("utf-8", "replace").decode()), text)
    assert decode(encode(state)) == state


def helper(state: str) -> HelperStatus:
    return HelperStatus(name="egress", pid=1, state=state, restarts=0)


@pytest.mark.parametrize(
    ("states", "is_running", "expected"),
    [
        (("serving", "serving"), True, (True, True, "")),
        (("serving",), False, (True, False, "the workload has not started")),
        (("starting",), True, (True, False, "egress: starting")),
        (("down", "serving"), True, (True, False, "egress: down")),
        (("crash-loop", "serving"), True, (False, False, "egress: crash-loop")),
        ((), True, (True, True, "")),
    ],
)
def test_health_is_about_helpers_and_the_workload(states, is_running, expected):
    assert health_of(map(helper, states), is_running=is_running) == expected
