import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.upstream_proxy import (
    MAX_ANSWER,
    Answer,
    UpstreamError,
    UpstreamProxy,
    connect_request,
    parse_credentials,
    parse_proxy,
    read_answer,
)

OPEN = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://proxy.example:3128", "proxy.example", 3128),
        ("http://PROXY.example:3128/", "proxy.example", 3128),
        ("http://192.0.2.9:80", "192.0.2.9", 80),
        ("http://[2001:db8::9]:8080", "2001:db8::9", 8080),
    ],
)
def test_a_proxy_is_a_host_and_a_port(text, host, port):
    found, number = parse_proxy(text)
    assert (found.text, number) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "proxy.example:3128", "https://proxy.example:3128", "http://proxy.example", "HTTP://p.e:1",
     "http://user:secret@proxy.example:3128", "http://proxy.example:3128/path", "http://:3128",
     "http://proxy.example:0", "http://proxy.example:65536", "http://proxy.example:3128?x",
     "http://pro xy:3128", "http://2001:db8::9:8080", "http://127.1:3128", "socks5://a.example:1080",
     "http://proxy.example:3128\n"],
)  # fmt: skip
def test_anything_else_is_refused_without_quoting_a_password(text):
    with pytest.raises(UpstreamError) as refused:
        parse_proxy(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_credentials_are_one_line(end):
    value = parse_credentials("jo:hunter:ss wörd".encode() + end)
    assert value.startswith(b"Basic ")
    assert base64.b64decode(value[6:]).decode() == "jo:hunter:ss wörd"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"jo",
        b":hunter",
        b"jo:hunterss\nmore",
        b"jo:hunter\0",
        b"jo:hunterss\r\nX: y",
        b"jo:\xff",
    ],
)
def test_other_credentials_are_refused_without_quoting_them(content):
    with pytest.raises(UpstreamError) as refused:
        parse_credentials(content)
    assert "hunter" not in str(refused.value)


def test_credentials_are_not_in_the_text_of_a_proxy():
    host, port = parse_proxy("http://proxy.example:3128")
    proxy = UpstreamProxy(host=host, port=port, authorization=parse_credentials(b"jo:secret"))
    assert "Basic" not in repr(proxy) + str(proxy)


def test_the_request_names_the_target_twice_and_authorizes():
    assert connect_request("192.0.2.7:443", b"Basic eDp5") == (
        b"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"
        b"Proxy-Authorization: Basic eDp5\r\n\r\n"
    )


def test_status_200_opens_the_tunnel_and_what_is_behind_its_head_is_not_the_proxys():
    reading = read_answer(OPEN + b"SSH-2.0-x\r\n")
    assert (reading.answer, reading.length) == (Answer.ESTABLISHED, len(OPEN))


@pytest.mark.parametrize("status", [100, 101, 201, 204, 206, 301, 403, 407, 502, 999])
def test_no_other_status_does(status):
    reading = read_answer(b"HTTP/1.1 %d Whatever\r\nContent-Length: 9\r\n\r\n" % status)
    assert (reading.answer, reading.status) == (Answer.DENIED, status)


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"\x15\x03\x01", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n",
     b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n", b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
     b"HTTP/1.1 200 \0\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
     b"HTTP/1.1 200 " + b"x" * MAX_ANSWER, b"\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_strict_short_answer_is_invalid(data):
    assert read_answer(data).answer is Answer.INVALID


def test_every_beginning_of_an_answer_is_incomplete():
    for length in range(1, len(OPEN)):
        assert read_answer(OPEN[:length]).answer is Answer.INCOMPLETE, OPEN[:length]


@given(
    st.binary(min_size=1, max_size=300) | st.binary(max_size=80).map(lambda tail: OPEN[:40] + tail)
)
def test_more_bytes_never_take_an_answer_back(data):
    """Whatever is decided for a beginning holds for the whole, so reading in pieces is the same."""
    whole = read_answer(data)
    for length in range(1, len(data)):
        part = read_answer(data[:length])
        assert part.answer is Answer.INCOMPLETE or part == whole


@given(st.binary(max_size=60))
def test_only_the_exact_status_line_opens(tail):
    reading = read_answer(b"HTTP/1.1 200" + tail + b"\r\n\r\n")
    if reading.answer is Answer.ESTABLISHED:
        assert tail[:1] in (b"", b" ", b"\r")
