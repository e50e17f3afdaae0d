import itertools
import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.built_policies import CURL, endpoint, entry, policy
from support.tls_bytes import ECH, client_hello, extension, hello_message, records, server_name

from policy.decide import decide_connection
from policy.index import compile_policy
from policy.intent import Caller, CallerProblem
from supervisor.egress import codes
from supervisor.egress.admit import (
    ALERT_ACCESS_DENIED,
    ALERT_UNRECOGNIZED_NAME,
    ESTABLISHED,
    GATE_S,
    HELLO_S,
    REFUSING_S,
    Admission,
    Close,
    FindCaller,
    Opened,
    Reach,
    Refused,
    Relay,
    Reset,
    Say,
    ServeHttp,
    Stage,
)
from supervisor.egress.caller import Callers
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin

NAME = "api.example.com"
HELLO = client_hello(NAME.encode())
BY_CURL = Callers(callers=(Caller(binary=CURL),), pids=(7,))
BY_WGET = Callers(callers=(Caller(binary="/usr/bin/wget"),), pids=(8,))
SSH = b"SSH-2.0-OpenSSH_9\r\n"


def index(*endpoints, accept=()):
    return compile_policy(policy(entry("forge", *endpoints), accept=accept))


ALLOW = index(endpoint(NAME, 443, 80, 22, 8080))
NOTHING = compile_policy(policy())


def admission(*endpoints, port=443, hosts=(NAME,), is_connect=False, early=b"", target=...):
    rules = index(*endpoints) if endpoints else ALLOW
    current = [rules]
    made = Admission(
        target=Target(hosts=hosts, port=port) if target is ... else target,
        is_connect=is_connect,
        origin=Origin("r1", ip_address("10.0.0.7"), 40000),
        decide=lambda intent: decide_connection(current[0], intent),
        early=early,
    )
    made.current = current  # the test's handle on the live policy
    return made


def gate(*endpoints, **more):
    """An admission that is allowed and connected; returns it and its last commands."""
    made = admission(*endpoints, **more)
    assert made.start() == [FindCaller()]
    (reach,) = made.caller_found(BY_CURL)
    assert isinstance(reach, Reach)
    return made, made.reached()


def kinds(commands):
    return [type(command) for command in commands]


def refusal(commands):
    (found,) = [command for command in commands if isinstance(command, Refused)]
    return found.code


def body(commands):
    (said,) = [command for command in commands if isinstance(command, Say)]
    return json.loads(said.data.rpartition(b"\r\n\r\n")[2])


def test_a_tls_connection_whose_name_agrees_is_relayed_with_its_hello():
    made, opened = gate()
    assert kinds(opened) == [Opened]
    assert made.client_data(HELLO) == [Relay(HELLO)]
    assert made.stage is Stage.OVER


def test_a_hello_that_comes_in_pieces_is_waited_for():
    made, _ = gate()
    for at in range(len(HELLO) - 1):
        assert made.client_data(HELLO[at : at + 1]) == []
    assert made.client_data(HELLO[-1:]) == [Relay(HELLO)]


def test_connect_is_answered_before_the_client_speaks_and_early_data_is_kept():
    made, commands = gate(is_connect=True)
    assert commands[0] == Say(ESTABLISHED)
    assert kinds(commands) == [Say, Opened]
    assert made.client_data(HELLO) == [Relay(HELLO)]
    _, commands = gate(is_connect=True, early=HELLO)
    assert kinds(commands) == [Say, Opened, Relay]
    assert commands[2] == Relay(HELLO)


def test_nothing_is_resolved_for_a_denied_connection():
    made = admission()
    made.start()
    commands = made.caller_found(BY_WGET)
    assert kinds(commands) == [Refused]
    assert refusal(commands).name == "policy.binary-not-allowed"


def test_a_denied_connect_is_told_in_http_with_the_rule():
    made = admission(is_connect=True)
    made.start()
    commands = made.caller_found(BY_WGET)
    assert kinds(commands) == [Refused, Say, Close]
    told = body(commands)
    assert told["code"] == "policy.binary-not-allowed"
    assert told["rule"].startswith("network_policies.forge")
    assert told["request_id"] == "r1"
    assert told["next_step"]


@pytest.mark.parametrize("problem", CallerProblem)
def test_an_unknown_caller_is_denied(problem):
    made = admission(is_connect=True)
    made.start()
    commands = made.caller_found(Callers(callers=(Caller(problem=problem),)))
    assert body(commands)["code"].startswith("policy.caller-")


def test_every_holder_of_the_connection_must_be_allowed():
    made = admission()
    made.start()
    both = Callers(callers=(*BY_CURL.callers, *BY_WGET.callers), pids=(7, 8))
    assert kinds(made.caller_found(both)) == [Refused]


# --- how a captured client is told


def denied(**more):
    made = admission(**more)
    made.start()
    made.caller_found(BY_WGET)
    assert made.stage is Stage.REFUSING
    return made


def test_a_tls_client_is_told_by_an_alert():
    assert denied().client_data(HELLO) == [Say(ALERT_ACCESS_DENIED), Close()]


def test_an_http_client_is_told_in_http():
    commands = denied(port=80).client_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert kinds(commands) == [Say, Close]
    assert body(commands)["request_id"] == "r1"


@pytest.mark.parametrize(("port", "patience_s"), [(80, HELLO_S), (443, HELLO_S), (22, REFUSING_S)])
def test_a_client_that_has_to_speak_first_has_the_time_to(port, patience_s):
    """Loading certificates takes a busy machine seconds; who waits for a banner waits in vain."""
    assert denied(port=port).patience_s == patience_s


def test_any_other_client_is_reset_and_a_silent_one_after_a_while():
    assert denied().client_data(SSH) == [Reset()]
    assert denied().expired() == [Reset()]
    assert denied().client_closed() == [Reset()]


@pytest.mark.parametrize("first", [b"x", b"SSH-", b"PING\n", b"get /", b"\0\0\0\x08\x04\xd2\x16/"])
def test_a_client_whose_few_bytes_cannot_begin_http_or_tls_is_reset_at_once(first):
    assert denied().client_data(first) == [Reset()]


def test_what_may_become_http_is_waited_for():
    made = denied()
    assert made.client_data(b"GE") == []
    assert kinds(made.client_data(b"T /x HTTP/1.1\r\n")) == [Say, Close]


def test_an_address_that_stands_for_nothing_is_refused_without_looking_for_the_caller():
    made = admission(target=None)
    assert refusal(made.start()) is codes.NAME_UNKNOWN
    assert made.client_data(HELLO) == [Say(ALERT_ACCESS_DENIED), Close()]


def test_an_unreachable_upstream_is_told():
    made = admission(is_connect=True)
    made.start()
    made.caller_found(BY_CURL)
    commands = made.unreachable(codes.UPSTREAM_UNREACHABLE, "refused by 192.0.2.1", 502)
    assert kinds(commands) == [Refused, Say, Close]
    assert b" 502 " in commands[1].data


# --- names in TLS


def test_another_name_is_refused_with_the_alert_for_it():
    made, _ = gate()
    commands = made.client_data(client_hello(b"evil.example"))
    assert refusal(commands) is codes.TLS_NAME_MISMATCH
    assert commands[1:] == [Say(ALERT_UNRECOGNIZED_NAME), Close()]


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (records(hello_message()), codes.TLS_NAME_MISSING),
        (records(hello_message(server_name(NAME.encode(), b"b.example"))), codes.TLS_HELLO_INVALID),
        (records(hello_message(server_name(b"10.0.0.1"))), codes.TLS_HELLO_INVALID),
        (records(hello_message(server_name(b"api.example.com."))), codes.TLS_HELLO_INVALID),
        (b"\x80\x2e\x01\x03\x01", codes.TLS_HELLO_INVALID),
    ],
)
def test_a_hello_that_proves_nothing_is_refused(hello, code):
    made, _ = gate()
    assert refusal(made.client_data(hello)) is code


def test_an_opaque_endpoint_is_relayed_whatever_is_said():
    opaque = endpoint(NAME, 443, tls="skip")
    _, commands = gate(opaque)
    assert kinds(commands) == [Opened, Relay]
    _, commands = gate(opaque, early=client_hello(b"evil.example"))
    assert commands[1] == Relay(client_hello(b"evil.example"))


def test_ech_is_tolerated_unless_the_endpoint_refuses_it():
    with_ech = records(hello_message(server_name(NAME.encode()), extension(ECH, b"x")))
    made, _ = gate()
    assert kinds(made.client_data(with_ech)) == [Relay]
    made, _ = gate(endpoint(NAME, 443, ech="refuse"))
    assert refusal(made.client_data(with_ech)) is codes.TLS_ECH


def test_to_an_address_no_name_is_right_and_a_name_is_wrong():
    by_address = endpoint("192.0.2.7", 443)
    nameless = records(hello_message())
    made, _ = gate(by_address, hosts=("192.0.2.7",))
    assert made.client_data(nameless) == [Relay(nameless)]
    made, _ = gate(by_address, hosts=("192.0.2.7",))
    assert refusal(made.client_data(HELLO)) is codes.TLS_NAME_MISMATCH


def test_any_of_the_names_of_a_hosts_file_address_will_do():
    made, _ = gate(hosts=("db", NAME, "192.0.2.7"))
    assert kinds(made.client_data(HELLO)) == [Relay]


# --- who speaks first


def test_an_upstream_that_speaks_first_opens_the_gate():
    made, _ = gate(port=22)
    assert made.upstream_spoke() == [Relay(b"")]


def test_once_a_hello_has_begun_an_upstream_that_speaks_does_not_open_the_gate():
    made, _ = gate()
    made.client_data(HELLO[:20])
    assert made.upstream_spoke() == []
    assert (
        refusal(made.client_data(client_hello(b"api.evil-er.com")[20:])) is codes.TLS_NAME_MISMATCH
    )


def test_a_protocol_that_is_not_tls_is_relayed():
    made, _ = gate(port=22)
    assert made.client_data(SSH) == [Relay(SSH)]


def test_patience_is_short_only_in_the_middle_of_a_hello():
    made, _ = gate()
    assert made.patience_s == GATE_S
    made.client_data(HELLO[:9])
    assert made.patience_s == HELLO_S
    assert refusal(made.expired()) is codes.TOO_SLOW
    silent, _ = gate()
    assert silent.expired() == [Reset()]


def test_a_client_that_only_half_closes_is_relayed():
    made, _ = gate(port=22)
    assert made.client_closed() == [Relay(b"")]


# --- HTTP


def test_http_on_port_80_is_judged_by_request_with_its_first_bytes():
    made, _ = gate(port=80)
    assert made.upstream_spoke() == []
    assert made.client_data(b"GET / HT") == [ServeHttp(NAME, b"GET / HT")]


def test_tls_on_port_80_is_still_tls():
    made, _ = gate(port=80)
    assert kinds(made.client_data(HELLO)) == [Relay]


def test_an_endpoint_with_request_rules_serves_http_on_any_port_and_refuses_tls():
    rules = endpoint(NAME, 8080, access="read-only")
    made, _ = gate(rules, port=8080)
    assert kinds(made.client_data(b"GET / HTTP/1.1\r\n")) == [ServeHttp]
    made, _ = gate(rules, port=8080)
    assert refusal(made.client_data(HELLO)) is codes.INSPECTION_UNAVAILABLE
    made, _ = gate(rules, port=8080)
    assert made.upstream_spoke() == []


def test_request_rules_that_are_accepted_unread_inside_tls_still_judge_plain_http():
    def accepted():
        made = admission(port=8080)
        rules = endpoint(NAME, 8080, access="read-only")
        made.current[0] = index(rules, accept=("request-rules",))
        made.start()
        made.caller_found(BY_CURL)
        made.reached()
        return made

    assert kinds(accepted().client_data(HELLO)) == [Relay]
    assert kinds(accepted().client_data(b"GET / HTTP/1.1\r\n")) == [ServeHttp]
    assert accepted().upstream_spoke() == []
    assert kinds(accepted().client_closed()) == [Reset]


# --- live policy


@pytest.mark.parametrize("stage", ["reach", "gate"])
def test_a_connection_that_the_new_policy_does_not_allow_ends(stage):
    made = admission(is_connect=True)
    made.start()
    made.caller_found(BY_CURL)
    if stage == "gate":
        made.reached()
    made.current[0] = NOTHING
    commands = made.policy_changed()
    assert refusal(commands) is codes.POLICY_CHANGED


def test_a_policy_that_still_allows_it_changes_nothing():
    made, _ = gate()
    made.current[0] = index(endpoint(NAME, 443), endpoint("other.example.com", 1))
    assert made.policy_changed() == []
    assert kinds(made.client_data(HELLO)) == [Relay]


@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=6), st.booleans())
def test_no_bytes_raise_and_nothing_follows_the_last_command(pieces, is_connect):
    made, commands = gate(is_connect=is_connect)
    commands += itertools.chain.from_iterable(
        made.client_data(piece) for piece in pieces if made.wants_client
    )
    last = [command for command in commands if isinstance(command, Relay | Close | Reset)]
    assert len(last) <= 1


def test_what_was_not_asked_for_is_a_bug():
    with pytest.raises(RuntimeError):
        admission().reached()


def test_what_a_client_said_before_it_ended_is_still_judged():
    said = b"GET / HTTP/1.1\r\n\r\n"
    made = admission(port=80)
    made.start()
    made.client_data(said)
    assert made.client_closed() == []
    made.caller_found(BY_CURL)
    assert made.reached()[1:] == [ServeHttp(NAME, said)]


def test_a_client_that_ends_in_the_middle_of_its_hello_is_reset():
    made, _ = gate()
    made.client_data(HELLO[:9])
    assert made.client_closed() == [Reset()]
    early = admission()
    early.start()
    early.client_data(HELLO[:9])
    early.client_closed()
    early.caller_found(BY_CURL)
    assert early.reached()[1:] == [Reset()]
