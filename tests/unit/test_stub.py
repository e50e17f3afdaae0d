from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.stub import (
    MAX_ADDRESSES,
    MAX_ALIASES,
    MAX_TTL_S,
    Found,
    Missing,
    Truncated,
    Unusable,
    question,
    read_response,
)

QUERY = question("api.example.com", "A", 4711)


def response(*rrsets, query=QUERY):
    made = dns.message.make_response(dns.message.from_wire(query))
    for name, ttl, rdtype, *texts in rrsets:
        made.answer.append(dns.rrset.from_text(name, ttl, "IN", rdtype, *texts))
    return made


def read(made, query=QUERY):
    return read_response(made.to_wire(), query)


def test_addresses_are_found():
    made = response(("api.example.com.", 20, "A", "192.0.2.1", "192.0.2.2"))
    found = read(made)
    assert set(found.addresses) == {ip_address("192.0.2.1"), ip_address("192.0.2.2")}
    assert found.ttl_s == 20


def test_a_chain_of_aliases_is_followed_and_the_shortest_life_counts():
    made = response(
        ("api.example.com.", 300, "CNAME", "a.cdn.example."),
        ("a.cdn.example.", 7, "CNAME", "b.cdn.example."),
        ("b.cdn.example.", 300, "A", "192.0.2.9"),
    )
    assert read(made) == Found(addresses=(ip_address("192.0.2.9"),), ttl_s=7)


def test_a_long_chain_a_loop_and_two_aliases_are_not_followed():
    links = [(f"n{n}.example.", 9, "CNAME", f"n{n + 1}.example.") for n in range(MAX_ALIASES + 1)]
    long = response(("api.example.com.", 9, "CNAME", "n0.example."), *links)
    loop = response(("api.example.com.", 9, "CNAME", "api.example.com."))
    assert isinstance(read(long), Unusable)
    assert isinstance(read(loop), Unusable)


def test_records_about_other_names_do_not_count():
    made = response(
        ("evil.example.", 20, "A", "192.0.2.1"), ("api.example.com.", 20, "AAAA", "::2")
    )
    assert read(made) == Found(addresses=(), ttl_s=MAX_TTL_S)


def test_lifetimes_are_clamped():
    assert read(response(("api.example.com.", 0, "A", "192.0.2.1"))).ttl_s == 1
    assert read(response(("api.example.com.", 86400, "A", "192.0.2.1"))).ttl_s == MAX_TTL_S


def test_too_many_addresses_are_not_used():
    many = [f"10.0.{n // 250}.{n % 250}" for n in range(MAX_ADDRESSES + 1)]
    assert isinstance(read(response(("api.example.com.", 9, "A", *many))), Unusable)


def test_what_the_server_says_instead():
    gone, broken, cut = response(), response(), response()
    gone.set_rcode(dns.rcode.NXDOMAIN)
    broken.set_rcode(dns.rcode.SERVFAIL)
    cut.flags |= dns.flags.TC
    assert read(gone) == Missing()
    assert read(broken) == Unusable(why="SERVFAIL")
    assert read(cut) == Truncated()


@pytest.mark.parametrize(
    "other",
    [question("api.example.com", "A", 4712), question("evil.example.com", "A", 4711),
     question("api.example.com", "AAAA", 4711)],
)  # fmt: skip
def test_the_answer_to_another_question_is_no_answer(other):
    made = response(("api.example.com.", 9, "A", "192.0.2.1"), query=other)
    assert read(made) is None


def test_a_query_that_comes_back_is_no_answer():
    assert read_response(QUERY, QUERY) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(data):
    answers = (read_response(data, QUERY), read_response(QUERY[:2] + data, QUERY))
    assert not any(isinstance(answer, Missing) for answer in answers)


@given(st.data())
def test_a_damaged_response_never_raises(data):
    wire = bytearray(response(("api.example.com.", 9, "A", "192.0.2.1")).to_wire())
    for _ in range(3):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    answer = read_response(bytes(wire), QUERY)
    assert answer is None or isinstance(answer, Found | Missing | Truncated | Unusable)


def test_garbage_counts_only_from_who_knows_the_id():
    assert read_response(bytes([QUERY[0] ^ 1]) + QUERY[1:] + b"garbage", QUERY) is None
    assert isinstance(read_response(QUERY[:2] + b"\x80garbage", QUERY), Unusable)
