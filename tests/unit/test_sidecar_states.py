"""Both halves of the control channel as tables of events and commands."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from supervisor.kernel.peer import Peer
from supervisor.monitor import codes as monitor_codes
from supervisor.monitor.lifecycle import Finish
from supervisor.sidecar import codes, guest_states, host_states
from supervisor.sidecar.frames import (
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
)
from supervisor.sidecar.guest_states import Connect, EndWorkload, Guest, StopWorkload, TakeDocument
from supervisor.sidecar.host_states import (
    Drop,
    EndAgent,
    Host,
    Listen,
    Look,
    Phase,
    Remember,
    Say,
    SayDocument,
    Unlisten,
)

AGENT = Peer(pid=7, uid=4242, gid=4242)
TOKEN, OTHER_TOKEN = b"t" * 32, b"o" * 32
DIGEST = hashlib.sha256(TOKEN).digest()


def waiting(**more) -> Host:
    host = Host(uid=4242, gid=4242, grace_s=25.0, **more)
    assert host.start(now=0.0) == [Listen()]
    return host


def greeted(host, *, hello=None, others=0, now=1.0):
    assert host.on_peer(AGENT, now=now) == []
    return host.on_message(hello or Hello(on_loss=OnLoss.END), others=others, fresh=TOKEN, now=now)


def attached(on_loss=OnLoss.END, **more) -> Host:
    host = waiting(**more)
    greeted(host, hello=Hello(on_loss=on_loss))
    assert host.phase is Phase.ATTACHED
    return host


def refusal(commands):
    return next(
        c.message for c in commands if isinstance(c, Say) and isinstance(c.message, Refused)
    )


def test_a_good_hello_closes_the_listener_before_the_welcome():
    commands = greeted(waiting())

    assert commands == [
        Unlisten(),
        Remember(DIGEST),
        SayDocument(Welcome(generation=0, token=TOKEN)),
    ]


def test_a_peer_of_another_uid_or_gid_is_dropped_unheard():
    for peer in (Peer(7, 0, 4242), Peer(7, 4242, 0), Peer(7, 64998, 64998)):
        host = waiting()
        assert host.on_peer(peer, now=1.0) == [Drop()]
        assert host.phase is Phase.WAITING


def test_another_release_is_refused_with_both_named():
    said = refusal(greeted(waiting(), hello=Hello(on_loss=OnLoss.END, release="9.9")))

    assert said.code == codes.VERSION_SKEW.name
    assert "9.9" in said.cause


def test_another_protocol_is_refused_as_skew():
    host = waiting()
    host.on_peer(AGENT, now=1.0)

    assert refusal(host.on_garbage(SkewError(99), now=1.0)).code == codes.VERSION_SKEW.name


def test_a_new_start_beside_processes_of_the_uid_is_refused():
    assert refusal(greeted(waiting(), others=1)).code == codes.NOT_RESUMABLE.name


def test_a_new_start_after_an_earlier_one_needs_sight_of_the_processes():
    blind = greeted(waiting(session=DIGEST), others=None)
    seeing = greeted(waiting(session=DIGEST), others=0)

    assert refusal(blind).code == codes.NOT_RESUMABLE.name
    assert Unlisten() in seeing


def test_a_restarted_sidecar_takes_back_who_knows_the_token_and_nobody_else():
    knows = greeted(
        waiting(session=DIGEST), hello=Hello(on_loss=OnLoss.WAIT, token=TOKEN), others=None
    )
    guesses = greeted(
        waiting(session=DIGEST), hello=Hello(on_loss=OnLoss.WAIT, token=OTHER_TOKEN), others=5
    )
    without = greeted(waiting(), hello=Hello(on_loss=OnLoss.WAIT, token=TOKEN))

    assert SayDocument(Welcome(generation=0, token=TOKEN)) in knows
    for commands in (guesses, without):
        assert refusal(commands).code == codes.NOT_RESUMABLE.name


def test_an_exit_status_is_noted_and_becomes_ours():
    for status in (0, 7, 137):
        host = attached()
        said = host.on_message(Exited(status=status), others=0, fresh=TOKEN, now=2.0)
        assert said == [Say(Noted())]
        assert host.on_gone(now=2.1) == [Finish(status, None)]


def test_an_exit_status_is_kept_when_the_peer_stays_connected():
    host = attached()
    host.on_message(Exited(status=3), others=0, fresh=TOKEN, now=2.0)

    assert host.on_time(now=2.0 + host_states.LEAVE_S) == [Finish(3, None)]


def test_an_agent_that_died_without_a_word_may_come_again_once_nothing_of_it_lives():
    host = attached()

    assert host.on_gone(now=2.0) == [Drop(), Look()]
    assert host.on_look(dead=False, others=3, now=2.0) == [EndAgent()]
    assert host.on_look(dead=True, others=1, now=2.1) == [EndAgent()]
    assert host.on_look(dead=True, others=0, now=2.2) == [Listen()]
    assert Unlisten() in greeted(host, now=3.0)


def test_without_sight_of_its_processes_the_pod_ends_with_the_agent():
    host = attached()
    host.on_gone(now=2.0)

    assert host.on_look(dead=True, others=None, now=2.0) == [Finish(125, codes.AGENT_LOST)]


def test_processes_that_do_not_end_end_the_pod():
    host = attached()
    host.on_gone(now=2.0)

    commands = host.on_look(dead=True, others=1, now=2.0 + host_states.DEPART_S)

    assert commands == [EndAgent(), Finish(125, codes.AGENT_LOST)]


def test_silence_is_an_end():
    host = attached()

    assert host.on_time(now=1.0 + host_states.SILENCE_S) == [EndAgent(), Drop(), Look()]


def test_term_before_an_agent_ends_at_once_and_with_one_once_it_has_ended():
    assert waiting().on_terminate(now=1.0) == [Finish(0, None)]

    host = attached()
    assert host.on_terminate(now=2.0) == [Say(Terminate())]
    host.on_message(Exited(status=143), others=0, fresh=TOKEN, now=3.0)
    assert host.on_gone(now=3.0) == [Finish(143, None)]


def test_an_agent_that_waits_is_not_stopped_but_served_for_the_grace():
    host = attached(OnLoss.WAIT)

    assert host.on_terminate(now=2.0) == []
    host.on_message(Alive(), others=0, fresh=TOKEN, now=20.0)
    assert Finish(0, None) in drain(host, 27.0)


def test_a_second_term_does_not_wait():
    host = attached()
    host.on_terminate(now=2.0)

    assert host.on_terminate(now=2.1) == [Finish(0, None)]


def test_a_changed_fence_ends_the_workload_and_then_us():
    host = attached()

    assert host.on_failure(monitor_codes.FENCE_CHANGED, now=2.0) == [Say(Stop())]
    host.on_message(Exited(status=137), others=0, fresh=TOKEN, now=2.5)
    assert host.on_gone(now=2.6) == [Finish(125, monitor_codes.FENCE_CHANGED)]


def test_an_agent_that_does_not_obey_is_killed():
    host = attached()
    host.on_failure(monitor_codes.FENCE_CHANGED, now=2.0)

    commands = drain(host, 2.0 + host_states.FAIL_S)

    assert commands[-2:] == [EndAgent(), Finish(125, monitor_codes.FENCE_CHANGED)]


def test_a_new_document_is_pushed_once_and_counted():
    host = attached()

    assert host.on_document() == [SayDocument(Update(generation=1))]
    assert waiting().on_document() == []


def test_readiness_is_told_now_or_with_the_welcome():
    early, late = waiting(), attached()
    early.on_ready()

    assert greeted(early)[-1] == Say(Ready())
    assert late.on_ready() == [Say(Ready())]


def test_who_only_disturbs_does_not_do_so_for_ever():
    host = waiting()
    for _ in range(host_states.MOST_WRONG - 1):
        assert host.on_peer(Peer(9, 1, 1), now=1.0) == [Drop()]

    assert host.on_peer(Peer(9, 1, 1), now=1.0) == [Drop(), Finish(125, codes.WRONG_PEER)]


EVENTS = st.one_of(
    st.tuples(st.just("peer"), st.sampled_from([AGENT, Peer(0, 4242, 4242), Peer(3, 1, 1)])),
    st.tuples(
        st.just("message"),
        st.sampled_from(
            [
                Hello(on_loss=OnLoss.END),
                Hello(on_loss=OnLoss.WAIT, token=TOKEN),
                Hello(on_loss=OnLoss.END, token=OTHER_TOKEN),
                Started(pid=1, start_time=1),
                Exited(status=0),
                Alive(),
            ]
        ),
    ),
    st.tuples(st.just("gone"), st.none()),
    st.tuples(st.just("garbage"), st.none()),
    st.tuples(st.just("look"), st.sampled_from([(False, 2), (True, 1), (True, 0), (True, None)])),
    st.tuples(st.just("term"), st.none()),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(st.just("time"), st.floats(0.0, 400.0)),
)


@given(st.lists(EVENTS, max_size=40), st.sampled_from([None, DIGEST]))
def test_whatever_happens_there_is_at_most_one_agent_and_an_end_in_sight(events, session):
    """While an agent is attached nobody is listened to; every phase but the end has a deadline."""
    host = waiting(session=session)
    listening, now = True, 0.0
    for kind, value in events:
        if host.phase is Phase.ENDED:
            break
        now += value if kind == "time" else 0.1
        for command in step(host, kind, value, now):
            listening = (listening or command == Listen()) and command != Unlisten()
        if host.phase in (Phase.ATTACHED, Phase.LEAVING, Phase.DEPARTED):
            assert not listening
        if host.phase is not Phase.ENDED:
            assert host.deadline() is not None


def step(host, kind, value, now):
    match kind:
        case "peer":
            return host.on_peer(value, now=now)
        case "message":
            return host.on_message(value, others=0, fresh=TOKEN, now=now)
        case "gone":
            return host.on_gone(now=now)
        case "garbage":
            return host.on_garbage(FrameError("x"), now=now)
        case "look":
            return host.on_look(dead=value[0], others=value[1], now=now)
        case "term":
            return host.on_terminate(now=now)
        case "fail":
            return host.on_failure(monitor_codes.FENCE_CHANGED, now=now)
        case _:
            return drain(host, now)


def drain(host, now):
    """What is due, at most a few times: a beat is due again only later."""
    found = []
    for _ in range(5):
        due = host.deadline()
        if due is None or due > now:
            break
        found += host.on_time(now=now)
    return found


# --- the agent's half


def guest(on_loss=OnLoss.END, **more) -> Guest:
    return Guest(on_loss=on_loss, token=TOKEN, generation=0, now=0.0, **more)


def test_a_lost_sidecar_ends_the_workload_by_default():
    commands = guest().on_gone("gone", now=1.0)

    assert commands[0] == guest_states.Drop()
    assert commands[-1] == EndWorkload(codes.LOST)


def test_a_workload_that_may_wait_is_taken_back_with_its_token():
    waits = guest(OnLoss.WAIT)

    assert EndWorkload(codes.LOST) not in waits.on_gone("gone", now=1.0)
    assert waits.on_time(now=1.0 + guest_states.RETRY_S) == [Connect()]
    assert waits.on_connected(now=2.0) == [
        guest_states.Say(Hello(on_loss=OnLoss.WAIT, token=TOKEN))
    ]
    commands = waits.on_message(Welcome(generation=4, token=TOKEN), now=2.1)
    assert commands[-1] == TakeDocument(4)
    assert waits.phase is guest_states.Phase.ATTACHED


def test_waiting_for_a_sidecar_has_an_end():
    waits = guest(OnLoss.WAIT)
    waits.on_gone("gone", now=1.0)

    assert EndWorkload(codes.LOST) in waits.on_time(now=1.0 + guest_states.LOST_S)


def test_being_lost_again_while_resuming_does_not_start_the_wait_anew():
    waits = guest(OnLoss.WAIT, lost_s=10.0)
    waits.on_gone("gone", now=1.0)
    waits.on_time(now=2.0)
    waits.on_connected(now=2.0)
    waits.on_gone("gone", now=9.0)

    assert EndWorkload(codes.LOST) in waits.on_time(now=11.0)


def test_a_refused_resumption_ends_the_workload():
    waits = guest(OnLoss.WAIT)
    waits.on_gone("gone", now=1.0)
    waits.on_time(now=2.0)
    waits.on_connected(now=2.0)

    commands = waits.on_message(Refused(code="sidecar.not-resumable", cause="no"), now=2.1)

    assert commands[-1] == EndWorkload(codes.LOST)


def test_a_silent_sidecar_is_lost():
    assert EndWorkload(codes.LOST) in guest().on_time(now=guest_states.SILENCE_S)


def test_stop_has_no_grace_and_terminate_has():
    assert guest().on_message(Stop(), now=1.0) == [EndWorkload(codes.ORDERED)]
    assert guest().on_message(Terminate(), now=1.0)[-1] == StopWorkload()


def test_only_a_newer_document_is_taken():
    half = guest()

    assert half.on_message(Update(generation=2), now=1.0) == [TakeDocument(2)]
    assert half.on_message(Update(generation=2), now=1.0) == []
    assert half.on_message(Update(generation=1), now=1.0) == []


def test_a_welcome_out_of_order_is_a_lost_sidecar():
    commands = guest().on_message(Welcome(generation=1, token=TOKEN), now=1.0)

    assert commands[-1] == EndWorkload(codes.LOST)
