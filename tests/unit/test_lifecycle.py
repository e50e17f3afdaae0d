"""The life of the main process as a table of events and commands."""

import signal

from hypothesis import given
from hypothesis import strategies as st

from supervisor.monitor import codes
from supervisor.monitor.lifecycle import FORWARDED, Finish, Forward, Lifecycle, Sweep


def started(*, grace_s: float = 10.0, timeout_s: float | None = None) -> Lifecycle:
    life = Lifecycle(grace_s=grace_s, timeout_s=timeout_s)
    life.start(now=0.0)
    return life


def test_every_forwarded_signal_reaches_the_main_group():
    for number in FORWARDED:
        assert started().on_signal(number, now=1.0) == [Forward(number)]


def test_a_clean_end_keeps_the_workloads_own_status():
    life = started()

    life.on_main_exit(7, now=1.0)

    assert life.on_time(now=1.0, survivors=0) == [Finish(7, None)]


def test_an_end_by_signal_is_128_plus_n():
    life = started()

    life.on_main_exit(-signal.SIGSEGV, now=1.0)

    assert life.on_time(now=1.0, survivors=0) == [Finish(128 + signal.SIGSEGV, None)]


def test_what_the_main_process_left_behind_is_swept_before_the_end():
    life = started()
    life.on_main_exit(0, now=1.0)

    assert life.on_time(now=1.0, survivors=2) == [Sweep()]
    assert life.on_time(now=1.5, survivors=0) == [Finish(0, None)]


def test_survivors_of_the_sweep_are_named_after_a_bounded_time():
    life = started()
    life.on_main_exit(0, now=1.0)

    assert life.on_time(now=100.0, survivors=1) == [Finish(0, codes.SURVIVORS)]


def test_term_starts_the_grace_period_and_then_kills():
    life = started(grace_s=3.0)

    assert life.on_signal(signal.SIGTERM, now=1.0) == [Forward(signal.SIGTERM)]
    assert life.deadline() == 4.0
    assert life.on_time(now=3.9, survivors=1) == []
    assert life.on_time(now=4.0, survivors=1) == [Sweep()]
    life.on_main_exit(-signal.SIGKILL, now=4.1)
    assert life.on_time(now=4.1, survivors=0) == [Finish(137, codes.KILLED)]


def test_a_second_term_or_int_ends_the_grace_period_at_once():
    for second in (signal.SIGTERM, signal.SIGINT):
        life = started(grace_s=3.0)
        life.on_signal(signal.SIGTERM, now=1.0)

        assert life.on_signal(second, now=1.1) == [Sweep()]


def test_int_alone_is_only_forwarded():
    life = started()

    assert life.on_signal(signal.SIGINT, now=1.0) == [Forward(signal.SIGINT)]
    assert life.deadline() is None


def test_the_timeout_asks_first_then_kills_and_reports_124():
    life = started(grace_s=2.0, timeout_s=5.0)

    assert life.deadline() == 5.0
    assert life.on_time(now=5.0, survivors=1) == [Forward(signal.SIGTERM)]
    assert life.on_time(now=7.0, survivors=1) == [Sweep()]
    life.on_main_exit(-signal.SIGKILL, now=7.1)
    assert life.on_time(now=7.1, survivors=0) == [Finish(124, codes.WORKLOAD_TIMEOUT)]


def test_a_workload_that_ends_by_itself_after_the_timeout_is_still_124():
    life = started(grace_s=2.0, timeout_s=5.0)
    life.on_time(now=5.0, survivors=1)

    life.on_main_exit(0, now=5.5)

    assert life.on_time(now=5.5, survivors=0) == [Finish(124, codes.WORKLOAD_TIMEOUT)]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), st.sampled_from(sorted(FORWARDED))),
        st.tuples(st.just("exit"), st.integers(-31, 255)),
        st.tuples(st.just("time"), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(EVENTS)
def test_after_a_term_the_end_comes_within_grace_and_sweeps_whatever_happens(events):
    life = started(grace_s=10.0)
    now = 0.0
    exited = False
    life.on_signal(signal.SIGTERM, now=now)
    for kind, value in events:
        now += 0.1
        if kind == "signal":
            life.on_signal(value, now=now)
        elif kind == "exit" and not exited:
            exited = True
            life.on_main_exit(value, now=now)
        elif kind == "time" and any(
            isinstance(c, Finish) for c in life.on_time(now=now, survivors=value)
        ):
            return

    for _ in range(1000):
        deadline = life.deadline()
        assert deadline is not None
        now = max(now, deadline)
        if any(isinstance(c, Finish) for c in life.on_time(now=now, survivors=1)):
            break
    else:
        raise AssertionError("the end never came")
    assert now <= 10.0 + 0.1 * len(events) + 2 * 5.0 + 1.0


def test_a_failure_leaves_no_grace_and_keeps_its_cause_however_long_the_end_takes():
    life = started(timeout_s=1000.0)

    assert life.on_failure(codes.EGRESS_CRASH_LOOP, now=1.0) == [Sweep()]
    # The main process is killed, but has not been collected yet: a busy machine.
    assert life.on_time(now=1.0 + 0.05, survivors=1) == [Sweep()]
    life.on_main_exit(-signal.SIGKILL, now=1.1)

    assert life.on_time(now=1.1, survivors=0) == [
        Finish(128 + signal.SIGKILL, codes.EGRESS_CRASH_LOOP)
    ]
