from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.dns import (
    ANSWER_TTL_S,
    EDNS_SIZE,
    MAX_QUERY,
    NEGATIVE_TTL_S,
    Addresses,
    FrameError,
    Refused,
    TcpFrames,
    framed,
    respond,
)

V4, V6 = ip_address("198.18.0.7"), ip_address("fdc6:5e1f:9d07::7")


class Table:
    """Answers for two names, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def answer(self, name, kind):
        self.asked.append((name, kind))
        if name == "api.example.com":
            return Addresses(v4=(V4,), v6=(V6,))
        if name == "many.example.com":
            return Addresses(v4=tuple(ip_address(f"10.0.0.{n}") for n in range(1, 61)), v6=())
        return Refused(why="not allowed by policy")


def ask(name, rdtype="A", *, over_tcp=False, edns=None, **more):
    query = dns.message.make_query(name, rdtype, use_edns=edns, **more)
    wire = respond(query.to_wire(), Table(), over_tcp=over_tcp)
    response = dns.message.from_wire(wire)
    assert query.is_response(response)
    return response


def texts(response):
    return [item.to_text() for rrset in response.answer for item in rrset]


def test_an_allowed_name_gets_its_synthetic_addresses():
    response = ask("api.example.com")
    assert response.rcode() == dns.rcode.NOERROR
    assert texts(response) == [str(V4)]
    assert response.answer[0].ttl == ANSWER_TTL_S
    assert response.flags & dns.flags.RA
    assert texts(ask("api.example.com", "AAAA")) == [str(V6)]


def test_the_question_s_case_is_preserved():
    response = ask("aPi.ExAmple.cOm")
    assert response.question[0].name.to_text() == "aPi.ExAmple.cOm."
    assert response.answer[0].name.to_text() == "aPi.ExAmple.cOm."


@pytest.mark.parametrize("rdtype", ["HTTPS", "SVCB", "TXT", "NULL", "MX", "ANY", "PTR", "SRV"])
def test_other_types_of_an_allowed_name_are_empty(rdtype):
    response = ask("api.example.com", rdtype)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.answer == []
    assert response.authority[0].ttl == NEGATIVE_TTL_S


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "TXT", "HTTPS"])
def test_a_refused_name_does_not_exist_and_says_why(rdtype):
    response = ask("secret-data.evil.example", rdtype, edns=0)
    assert response.rcode() == dns.rcode.NXDOMAIN
    (option,) = response.options
    assert (option.code, option.text) == (dns.edns.EDECode.BLOCKED, "not allowed by policy")
    assert response.authority[0][0].minimum == NEGATIVE_TTL_S


def test_without_edns_there_is_no_edns_in_the_answer():
    assert ask("evil.example").edns == -1


def test_a_search_list_goes_on_after_a_name_that_does_not_exist():
    assert ask("api.example.com.ns.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN
    assert texts(ask("api.example.com")) == [str(V4)]


@pytest.mark.parametrize(
    "labels",
    [
        (b"a.b", b"example"),  # a dot inside a label is not a separator
        (b"a\0", b"example"),
        (b"a b", b"example"),
        (b"\xff", b"example"),
        (b"*", b"example"),
        (b"127", b"1"),
        (),
    ],
)
def test_a_name_that_is_no_host_name_never_reaches_the_policy(labels):
    table = Table()
    query = dns.message.make_query(dns.name.Name((*labels, b"")), "A")
    response = dns.message.from_wire(respond(query.to_wire(), table, over_tcp=False))
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert table.asked == []


def test_an_answer_that_does_not_fit_is_cut_to_nothing_and_marked():
    short = ask("many.example.com")
    assert short.flags & dns.flags.TC
    assert short.answer == []
    assert len(texts(ask("many.example.com", edns=0, payload=4096))) == 60
    assert len(texts(ask("many.example.com", over_tcp=True))) == 60


def test_the_answer_stays_within_what_the_client_and_the_path_can_take():
    query = dns.message.make_query("many.example.com", "A", use_edns=0, payload=65535)
    assert len(respond(query.to_wire(), Table(), over_tcp=False)) <= EDNS_SIZE
    assert ask("many.example.com", edns=0, payload=100).flags & dns.flags.TC


def rcode_of(wire):
    return dns.message.from_wire(respond(wire, Table(), over_tcp=False)).rcode()


def test_what_is_no_ordinary_query_gets_the_error_for_it():
    chaos = dns.message.make_query("version.bind", "TXT", rdclass="CH")
    assert rcode_of(chaos.to_wire()) == dns.rcode.NOTIMP
    update = dns.message.make_query("example.com", "SOA")
    update.set_opcode(4)
    assert rcode_of(update.to_wire()) == dns.rcode.NOTIMP
    assert ask("api.example.com", edns=1).rcode() == dns.rcode.BADVERS


def test_no_question_two_questions_or_garbage_is_a_format_error():
    query = dns.message.make_query("api.example.com", "A")
    wire = query.to_wire()
    none = wire[:4] + b"\0\0" + wire[6:12]
    two = wire[:4] + b"\0\2" + wire[6:] + wire[12:]
    loop = wire[:12] + b"\xc0\x0c\0\1\0\1"
    for broken in (none, two, loop, wire[:-3], wire + b"tail", wire[:12] + bytes(MAX_QUERY)):
        answer = respond(broken, Table(), over_tcp=False)
        assert answer[:2] == wire[:2]
        assert answer[3] & 0x0F == dns.rcode.FORMERR


def test_a_response_or_a_stump_gets_no_answer():
    query = dns.message.make_query("api.example.com", "A")
    response = dns.message.make_response(query)
    assert respond(response.to_wire(), Table(), over_tcp=False) is None
    assert respond(b"\0" * 11, Table(), over_tcp=False) is None
    assert respond(b"", Table(), over_tcp=False) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(data):
    answer = respond(data, Table(), over_tcp=False)
    assert answer is None or answer[:2] == data[:2]


@given(st.data())
def test_a_damaged_query_is_answered_or_dropped(data):
    wire = bytearray(dns.message.make_query("api.example.com", "A", use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    answer = respond(bytes(wire), Table(), over_tcp=False)
    assert answer is None or answer[2] & 0x80


@given(st.lists(st.binary(min_size=12, max_size=40), max_size=6), st.integers(1, 9))
def test_tcp_frames_survive_any_segmentation(messages, size):
    stream = b"".join(framed(message) for message in messages)
    frames = TcpFrames()
    found = [m for at in range(0, len(stream), size) for m in frames.feed(stream[at : at + size])]
    assert found == messages


@pytest.mark.parametrize("length", [0, 11, MAX_QUERY + 1, 65535])
def test_a_tcp_message_of_impossible_length_is_refused_at_once(length):
    with pytest.raises(FrameError):
        TcpFrames().feed(length.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("rdtype", "kind"), [("A", "A"), ("AAAA", "AAAA"), ("HTTPS", "HTTPS"), ("TYPE999", "TYPE999")]
)
def test_who_decides_hears_which_type_was_asked_for(rdtype, kind):
    table = Table()
    respond(dns.message.make_query("no.example", rdtype).to_wire(), table, over_tcp=False)
    assert table.asked == [("no.example", kind)]
