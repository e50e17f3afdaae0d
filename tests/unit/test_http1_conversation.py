import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress import codes
from supervisor.egress.authority import Authority, parse_authority
from supervisor.egress.http1 import MAX_WAITING, VIA, Conversation
from supervisor.egress.http1_commands import (
    AbortClient,
    Allowed,
    CloseClient,
    Connect,
    Decide,
    Denied,
    DropUpstream,
    OpenTunnel,
    Phase,
    Record,
    Switch,
    ToClient,
    ToUpstream,
)

A = Authority(host="a.example", port=80)
GET = b"GET http://a.example/x?q HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Talk:
    """A conversation with an owner that allows or denies everything and keeps what was said."""

    def __init__(self, bound=None, verdict=None):
        ids = itertools.count(1)
        self.talk = Conversation(bound=bound, new_id=lambda: f"r{next(ids)}")
        self.verdict = verdict
        self.commands = []
        self.up = b""
        self.down = b""
        self.connects = 0

    def obey(self, commands):
        for command in commands:
            self.commands.append(command)
            match command:
                case Decide(path=path):
                    self.obey(self.talk.decided(self.verdict or Allowed(path=path)))
                case Connect():
                    self.connects += 1
                    self.obey(self.talk.connected())
                case ToUpstream(data):
                    self.up += data
                case ToClient(data):
                    self.down += data
        return self

    def client(self, data):
        return self.obey(self.talk.client_data(data))

    def upstream(self, data):
        return self.obey(self.talk.upstream_data(data))

    def of(self, kind):
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def denial(self):
        head, _, body = self.down.rpartition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(body)


def test_an_absolute_form_request_goes_up_in_origin_form():
    talk = Talk().client(GET)
    assert talk.of(Decide) == [
        Decide(request_id="r1", authority=A, method="GET", path="/x?q", upgrade=False)
    ]
    assert talk.up == b"GET /x?q HTTP/1.1\r\nHost: a.example\r\n" + VIA + b"\r\n\r\n"
    talk.upstream(OK)
    assert talk.down == OK
    assert talk.of(Record)[0].status == 200
    assert talk.talk.resting


def test_every_request_on_a_connection_is_decided_and_one_host_keeps_its_upstream():
    talk = Talk().client(GET).upstream(OK).client(GET).upstream(OK)
    assert len(talk.of(Decide)) == 2
    assert talk.connects == 1
    other = GET.replace(b"a.example", b"b.example")
    talk.client(other)
    assert len(talk.of(Decide)) == 3
    assert len(talk.of(DropUpstream)) == 1
    assert talk.connects == 2


def test_pipelined_requests_are_answered_in_order():
    talk = Talk().client(GET * 3)
    assert len(talk.of(Decide)) == 1
    for _ in range(3):
        talk.upstream(OK)
    assert talk.down == OK * 3


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_segmentation_changes_nothing(sizes):
    post = (
        b"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    )
    talk, stream = Talk(), GET + post
    at = 0
    for size in [*sizes, len(stream)]:
        talk.client(stream[at : at + size])
        at += size
    talk.upstream(OK)
    assert talk.up.endswith(b"0\r\n\r\n")
    assert talk.up.count(b"HTTP/1.1") == 2
    talk.upstream(OK)
    assert talk.down == OK * 2


def test_a_denied_request_says_why_and_the_next_one_is_still_served():
    denied = Denied(code=codes.POLICY_DENIED, cause="no rule names a.example:80", rule="forge")
    talk = Talk(verdict=denied).client(GET)
    status, body = talk.denial
    assert status == 403
    assert body == {
        "error": "refused",
        "code": "egress.policy-denied",
        "reason": "no rule names a.example:80",
        "rule": "forge",
        "next_step": codes.POLICY_DENIED.remedy,
        "request_id": "r1",
    }
    assert talk.connects == 0
    (record,) = talk.of(Record)
    assert (record.request_id, record.code) == ("r1", codes.POLICY_DENIED)
    talk.verdict = None
    talk.down = b""
    talk.client(GET).upstream(OK)
    assert talk.down == OK


def test_after_a_denied_request_with_a_body_nothing_more_is_believed():
    denied = Denied(code=codes.POLICY_DENIED, cause="no")
    post = b"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 99\r\n\r\n"
    talk = Talk(verdict=denied).client(post + GET)
    assert b"Connection: close" in talk.down
    assert talk.of(CloseClient)
    assert len(talk.of(Decide)) == 1


def test_the_denial_of_a_head_request_has_no_body():
    denied = Denied(code=codes.POLICY_DENIED, cause="no")
    talk = Talk(verdict=denied).client(GET.replace(b"GET", b"HEAD"))
    assert talk.down.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.HTTP_TARGET),
        (b"GET http://a.example/ HTTP/1.1\r\n\r\n", 400, codes.HTTP_HOST),
        (b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", 421, codes.HTTP_HOST_MISMATCH),
        (b"GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 421, codes.HTTP_HOST_MISMATCH),
        (b"GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http://a.example/#f HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http://127.1/ HTTP/1.1\r\nHost: 127.1\r\n\r\n", 400, codes.HTTP_HOST),
        (b"GET http://0x7f000001/ HTTP/1.0\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http://[::1%25eth0]/ HTTP/1.0\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http://a.example:0/ HTTP/1.0\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http://a.example:99999/ HTTP/1.0\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET http:///x HTTP/1.0\r\n\r\n", 400, codes.NAME_INVALID),
        (b"GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.HTTP_SCHEME),
        (b"GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.HTTP_SCHEME),
        (b"GET a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, codes.HTTP_TARGET),
        (b"TRACE http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 405, codes.HTTP_METHOD),
        (b"get http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 405, codes.HTTP_METHOD),
        (b"CONNECT a.example HTTP/1.1\r\n\r\n", 400, codes.NAME_INVALID),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", 400, codes.HTTP_HOST_MISMATCH),
        (b"CONNECT [::1]junk:443 HTTP/1.1\r\n\r\n", 400, codes.NAME_INVALID),
        (b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400, codes.HTTP_FRAMING),
        (GET[:-2] + b"Expect: magic\r\n\r\n", 417, codes.HTTP_EXPECT),
        (GET[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, codes.HTTP_FRAMING),
        (GET.replace(b"\r\n", b"\n"), 400, codes.HTTP_SYNTAX),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, codes.HTTP_VERSION),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400, codes.HTTP_SYNTAX),
    ],
)  # fmt: skip
def test_what_can_be_misread_is_answered_and_ends_the_connection(request_bytes, status, code):
    talk = Talk().client(request_bytes + GET)
    assert (talk.denial[0], talk.denial[1]["code"]) == (status, code.name)
    assert talk.of(CloseClient)
    assert not talk.of(Decide)
    assert talk.talk.phase is Phase.CLOSED
    assert not talk.talk.wants_client


def test_connect_hands_the_connection_over_with_its_early_data():
    talk = Talk().client(
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\x01"
    )
    assert talk.of(OpenTunnel) == [
        OpenTunnel(
            request_id="r1", authority=parse_authority("a.example:443", None), early=b"\x16\x03\x01"
        )
    ]
    assert talk.talk.phase is Phase.SWITCHED
    assert not talk.talk.wants_client


# --- a captured connection


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /x HTTP/1.1\r\nHost: A.Example\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        b"GET /x HTTP/1.0\r\n\r\n",
        b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ],
)
def test_a_captured_request_for_its_own_host_is_served(request_bytes):
    talk = Talk(bound=A).client(request_bytes)
    assert talk.up.startswith(b"GET /x HTTP/1.1\r\nHost: a.example\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", 421),
        (b"GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
        (b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
        (b"GET * HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
    ],
)
def test_a_captured_request_for_anything_else_is_refused(request_bytes, status):
    talk = Talk(bound=A).client(request_bytes)
    assert talk.denial[0] == status
    assert not talk.of(Connect)


def test_an_upstream_that_admission_dialled_is_used():
    talk = Talk(bound=A)
    talk.talk.adopt_upstream(A)
    talk.client(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert talk.connects == 0
    assert talk.up.startswith(b"GET / ")


# --- responses


def test_a_chunked_answer_is_chunked_anew():
    talk = Talk().client(GET)
    talk.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n")
    talk.upstream(b"2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")
    head, _, body = talk.down.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert talk.talk.resting


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client():
    talk = Talk().client(GET).upstream(b"HTTP/1.0 200 OK\r\n\r\nabc")
    talk.obey(talk.talk.upstream_closed())
    assert talk.down.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert talk.talk.resting
    assert talk.client(GET).connects == 2


def test_an_http_1_0_client_gets_the_bytes_and_then_the_end():
    talk = Talk().client(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
    talk.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert talk.down.endswith(b"Connection: close\r\n\r\nabc")
    assert talk.of(CloseClient)


def test_informational_responses_pass_and_the_final_one_follows():
    post = GET[:-2].replace(b"GET", b"POST") + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    talk = Talk().client(post)
    assert b"Expect: 100-continue" in talk.up
    talk.upstream(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert talk.down == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.client(b"hi").upstream(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    assert talk.up.endswith(b"hi")
    assert talk.down.endswith(OK)


def test_a_server_that_only_hints_is_given_up():
    talk = Talk().client(GET).upstream(b"HTTP/1.1 102 Processing\r\n\r\n" * 20)
    assert b" 502 " in talk.down


def test_an_answer_before_the_end_of_the_request_ends_both_connections():
    post = GET[:-2].replace(b"GET", b"POST") + b"Content-Length: 200\r\n\r\nsome"
    talk = Talk().client(post).upstream(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close" in talk.down
    assert talk.of(DropUpstream)
    assert talk.of(CloseClient)


@pytest.mark.parametrize("how", ["upstream_closed", "upstream_reset"])
def test_half_an_answer_reaches_the_client_as_a_reset(how):
    talk = Talk().client(GET).upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    talk.obey(getattr(talk.talk, how)())
    assert talk.of(AbortClient)
    assert talk.of(Record)[-1].code is codes.UPSTREAM_INVALID


def test_a_reset_is_not_the_end_of_an_answer():
    talk = Talk().client(GET).upstream(b"HTTP/1.0 200 OK\r\n\r\nabc")
    talk.obey(talk.talk.upstream_reset())
    assert talk.of(AbortClient)


def test_bytes_after_an_answer_are_not_the_next_answer():
    talk = Talk().client(GET).upstream(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert talk.down == OK
    assert talk.of(DropUpstream)
    assert talk.client(GET).connects == 2


def test_an_answer_that_nobody_asked_for_drops_the_connection():
    talk = Talk().client(GET).upstream(OK).upstream(OK)
    assert talk.down == OK
    assert talk.of(DropUpstream)


def test_a_connection_that_died_in_rest_is_replaced_once():
    talk = Talk().client(GET).upstream(OK).client(GET)
    talk.obey(talk.talk.upstream_closed())
    assert talk.connects == 2
    assert talk.up.count(b"GET /x") == 3
    talk.obey(talk.talk.upstream_closed())
    assert b" 502 " in talk.down


def test_a_request_with_effects_is_not_sent_twice():
    post = GET[:-2].replace(b"GET", b"POST") + b"Content-Length: 2\r\n\r\nhi"
    talk = Talk().client(GET).upstream(OK).client(post)
    talk.obey(talk.talk.upstream_closed())
    assert talk.connects == 1
    assert b" 502 " in talk.down


def test_garbage_from_upstream_is_a_502_and_nothing_of_it_passes():
    talk = Talk().client(GET).upstream(b"SSH-2.0-OpenSSH\r\n\r\n")
    status, body = talk.denial
    assert (status, body["code"]) == (502, "egress.upstream-invalid")
    assert b"SSH" not in talk.down.replace(b"HTTP", b"")


def test_a_failed_connect_is_a_502_and_the_client_may_go_on():
    talk = Talk()
    talk.talk.client_data(GET)
    talk.talk.decided(Allowed(path="/x"))
    talk.obey(talk.talk.connect_failed(codes.UPSTREAM_UNREACHABLE, "refused"))
    assert talk.denial[0] == 502
    assert talk.talk.resting


# --- WebSocket

UPGRADE = (
    GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def test_a_websocket_becomes_a_tunnel_when_policy_and_upstream_agree():
    talk = Talk().client(UPGRADE + b"frame")
    assert talk.of(Decide)[0].upgrade
    assert b"Connection: upgrade\r\nUpgrade: websocket" in talk.up
    talk.upstream(SWITCHING + b"hello")
    assert talk.of(Switch) == [Switch(to_upstream=b"frame", to_client=b"hello")]
    assert talk.down.startswith(b"HTTP/1.1 101 ")


def test_any_other_upgrade_is_left_out():
    talk = Talk().client(UPGRADE.replace(b"websocket", b"h2c"))
    assert not talk.of(Decide)[0].upgrade
    assert b"Upgrade" not in talk.up
    assert b" 502 " in talk.upstream(SWITCHING).down


# --- limits and ends


def test_a_client_is_not_read_further_while_its_request_waits():
    talk = Talk()
    talk.talk.client_data(GET)
    assert talk.talk.phase is Phase.DECIDING
    talk.talk.client_data(bytes(MAX_WAITING))
    assert not talk.talk.wants_client


def test_time_that_runs_out_is_named():
    late = Talk().client(GET[:-2])
    late.obey(late.talk.expired())
    assert late.denial[0] == 408
    quiet = Talk()
    assert quiet.talk.expired() == [CloseClient()]
    unanswered = Talk().client(GET)
    unanswered.obey(unanswered.talk.expired())
    assert unanswered.denial[0] == 504
    cut = Talk().client(GET).upstream(OK[:-1])
    cut.obey(cut.talk.expired())
    assert cut.of(AbortClient)


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_whole_request_upstream():
    post = GET[:-2].replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\nsome"
    talk = Talk().client(post)
    talk.obey(talk.talk.client_closed())
    assert talk.of(DropUpstream)
    assert talk.of(AbortClient)


def test_a_client_may_half_close_after_its_request_and_still_gets_the_answer():
    talk = Talk().client(GET)
    talk.obey(talk.talk.client_closed())
    talk.upstream(OK)
    assert talk.down == OK
    assert talk.of(CloseClient)


def test_an_owner_that_answers_out_of_order_is_a_bug():
    with pytest.raises(RuntimeError):
        Talk().talk.connected()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_of_a_client_raise(pieces):
    talk = Talk()
    for piece in pieces:
        talk.client(piece)
    assert talk.talk.phase in Phase


@given(st.binary(max_size=200))
def test_no_bytes_of_an_upstream_raise(data):
    talk = Talk().client(GET)
    talk.upstream(data)
    talk.obey(talk.talk.upstream_closed())
    assert talk.talk.phase in (Phase.HEAD, Phase.CLOSED)
