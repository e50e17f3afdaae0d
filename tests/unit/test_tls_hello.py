import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tls_bytes import (
    ECH,
    alpn,
    client_hello,
    extension,
    hello_message,
    records,
    server_name,
    vector,
)

from supervisor.egress.tls_hello import (
    MAX_HELLO,
    MAX_RECORDS,
    Hello,
    HelloProblem,
    HelloReader,
    NoHello,
)

NAME = b"api.example.com"


def read(data):
    return HelloReader().feed(data)


def problem(data):
    answer = read(data)
    assert isinstance(answer, NoHello), answer
    return answer.problem


def message(*extensions, **more):
    return records(hello_message(*extensions, **more))


def openssl_hello(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_openssl_s_own_hello_is_read():
    assert read(openssl_hello("Api.Example.COM")) == Hello(
        server_name="api.example.com", alpn=(b"h2", b"http/1.1"), ech=False
    )


def test_a_hello_may_come_without_a_name_or_without_extensions_at_all():
    assert read(message(alpn(b"h2"))) == Hello(server_name=None, alpn=(b"h2",), ech=False)
    assert read(message()) == Hello(server_name=None, alpn=(), ech=False)


@given(st.integers(1, 300), st.integers(1, 400))
def test_a_hello_split_over_records_and_segments_reads_the_same(record_size, segment_size):
    size = max(record_size, len(hello_message(server_name(NAME), alpn(b"h2"))) // MAX_RECORDS + 1)
    data = records(hello_message(server_name(NAME), alpn(b"h2")), size=size)
    reader = HelloReader()
    answer = None
    for at in range(0, len(data), segment_size):
        assert answer is None
        answer = reader.feed(data[at : at + segment_size])
    assert answer == Hello(server_name=NAME.decode(), alpn=(b"h2",), ech=False)


def test_bytes_after_the_hello_are_none_of_its_business():
    assert isinstance(read(client_hello() + b"\x17\x03\x03\x00\x05early"), Hello)


def test_grease_is_ignored_and_ech_is_reported():
    grease = [extension(0x0A0A, b""), extension(0xFAFA, b"\0")]
    answer = read(message(grease[0], server_name(NAME), extension(ECH, b"\0" * 40), grease[1]))
    assert answer == Hello(server_name="api.example.com", alpn=(), ech=True)


def test_two_names_are_refused():
    assert problem(message(server_name(NAME, b"evil.example"))) is HelloProblem.TWO_NAMES


def test_two_server_name_extensions_are_refused():
    twice = message(server_name(NAME), server_name(NAME))
    assert problem(twice) is HelloProblem.DUPLICATE_EXTENSION


@pytest.mark.parametrize(
    "name",
    [b"10.0.0.1", b"[::1]", b"::1", b"127.1", b"a.example.", b"a..b", b"a\0.example", b"a b",
     b"\xc3\xa9.example", b"x" * 64 + b".example", b"a.example:443", b".", b"*.example.com",
     b"\xe2\x91\xa0.example", b"a%00.example"],
)  # fmt: skip
def test_a_name_that_is_no_plain_host_name_is_refused(name):
    assert problem(message(server_name(name))) is HelloProblem.BAD_NAME


def test_a_name_of_unknown_type_is_refused():
    assert problem(message(server_name(NAME, name_type=1))) is HelloProblem.MALFORMED


def test_other_protocols_are_told_apart():
    assert problem(b"GET / HTTP/1.1\r\n") is HelloProblem.NOT_TLS
    assert problem(b"SSH-2.0-x\r\n") is HelloProblem.NOT_TLS
    assert problem(b"\x80\x2e\x01\x03\x01") is HelloProblem.SSLV2
    assert problem(b"\x80\x2e\x02") is HelloProblem.NOT_TLS
    assert problem(b"\x16\x02\x00") is HelloProblem.NOT_TLS
    assert problem(b"\x16\x03\x05") is HelloProblem.NOT_TLS
    assert problem(b"\x15\x03\x01\x00\x02\x01\x00") is HelloProblem.NOT_TLS


def test_a_handshake_record_with_another_message_is_no_hello():
    assert problem(records(b"\x02\x00\x00\x00")) is HelloProblem.NOT_TLS


def test_after_the_first_record_anything_but_a_handshake_is_malformed():
    half = records(hello_message(server_name(NAME))[:20])
    assert problem(half + b"\x17\x03\x03\x00\x01x") is HelloProblem.MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x00",  # empty record
        b"\x16\x03\x01\x40\x01",  # longer than a record may be
        message(server_name(NAME), tail=b"\0"),
        message(server_name(NAME), suites=b"\x13\x01\x02"),
        message(server_name(NAME), suites=b""),
        message(server_name(NAME), session=bytes(33)),
        message(extension(0, b"")),
        message(extension(0, vector(2, b"\0" + vector(2, NAME)) + b"x")),
        message(extension(16, vector(2, vector(1, b"")))),
        message(extension(16, vector(2, vector(1, b"h2")) + b"x")),
        message(b"\x00\x00\xff\xff"),
        records(hello_message(server_name(NAME)) + b"\x01\x00"),
    ],
)
def test_a_field_that_does_not_add_up_is_malformed(data):
    assert problem(data) is HelloProblem.MALFORMED


def test_size_is_bounded_before_the_bytes_arrive():
    assert problem(records(b"\x01\x00\xff\xff" + bytes(60))) is HelloProblem.TOO_LARGE
    big = b"\x01" + (MAX_HELLO - 4).to_bytes(3, "big")
    assert read(records(big + bytes(MAX_HELLO - 200))) is None
    assert problem(records(big + bytes(MAX_HELLO), size=8000)) is HelloProblem.TOO_LARGE


def test_the_number_of_records_is_bounded():
    body = hello_message(server_name(NAME))
    assert len(body) > MAX_RECORDS
    assert problem(records(body, size=1)) is HelloProblem.TOO_MANY_RECORDS


def test_the_answer_stays():
    reader = HelloReader()
    first = reader.feed(b"nonsense")
    assert reader.feed(client_hello()) is first


@given(st.binary(max_size=600))
def test_no_bytes_raise(data):
    assert isinstance(read(data), Hello | NoHello | None)
    assert isinstance(read(b"\x16\x03\x01" + data), Hello | NoHello | None)


@given(st.data())
def test_a_damaged_hello_never_raises(data):
    good = bytearray(client_hello())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(good)), Hello | NoHello | None)
