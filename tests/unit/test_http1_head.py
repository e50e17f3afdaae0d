import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress import codes
from supervisor.egress.http1_body import ChunkedBody, Counted, UntilClose, body_reader, chunk
from supervisor.egress.http1_head import (
    HOP_BY_HOP,
    MAX_HEAD,
    MAX_HEADERS,
    HeadError,
    head_length,
    parse_request,
    parse_response,
    request_bytes,
    response_bytes,
)

TOKEN = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
VALUE = st.from_regex(rb"([!-~]+( [!-~]+)*)?", fullmatch=True).filter(lambda v: len(v) < 60)


def refusal(head, parse=parse_request):
    with pytest.raises(HeadError) as caught:
        parse(head)
    return caught.value


def request(*lines, start=b"GET / HTTP/1.1"):
    return b"\r\n".join((start, *lines, b"", b""))


def test_a_request_is_read():
    read = parse_request(request(b"Host: a.example", b"X:  y \t z\t", b"x: w", b"Empty:"))
    assert (read.method, read.target, read.minor) == ("GET", "/", 1)
    lines = [b"Host: a.example", b"X: y \t z", b"x: w", b"Empty: "]
    assert read.block.headers == tuple(zip([b"host", b"x", b"x", b"empty"], lines, strict=True))
    assert read.fields[b"x"] == b"y \t z, w"
    assert read.framing == 0
    assert read.keep_alive


@pytest.mark.parametrize(
    "line",
    [
        b"X : y",  # space before the colon
        b" folded",
        b"\tfolded",
        b"X: a\0b",
        b"X: a\x0bb",
        b"X: a\x7f",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b": no name",
        b"X\xe9: y",
        b"no colon",
        b"X(: y",
        b"",  # an empty line ends the head, so something follows it
    ],
)
def test_a_header_line_with_a_second_reading_is_refused(line):
    assert refusal(request(b"Host: a", line, b"Z: 1")).code is codes.HTTP_SYNTAX


@pytest.mark.parametrize(
    "start",
    [b"GET  / HTTP/1.1", b"GET /", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"G ET / HTTP/1.1",
     b"GET /\x80 HTTP/1.1", b"GET /a b HTTP/1.1", b"GET\t/ HTTP/1.1", b"(GET / HTTP/1.1", b"GET / http/1.1",
     b"GET / HTTP/1.10", b"GET / HTTP/11"],
)  # fmt: skip
def test_a_request_line_with_a_second_reading_is_refused(start):
    assert refusal(request(b"Host: a", start=start)).code is codes.HTTP_SYNTAX


def test_other_versions_are_named():
    assert refusal(b"PRI * HTTP/2.0\r\n\r\n").status == 505
    assert refusal(request(start=b"GET / HTTP/1.2")).code is codes.HTTP_VERSION


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 1", b"Content-Length: 1"),
        (b"Content-Length: 1", b"content-length: 2"),
        (b"Content-Length: 1, 1",),
        (b"Content-Length: +1",),
        (b"Content-Length: 0x1",),
        (b"Content-Length: \xb9",),
        (b"Content-Length:",),
        (b"Content-Length: 99999999999999999999",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked;a=b",),
        (b"Connection: close, host",),
        (b"Connection: content-length",),
        (b"Connection: transfer-encoding",),
        (b"Connection: a b",),
    ],
)
def test_a_length_with_a_second_reading_is_refused(lines):
    assert refusal(request(b"Host: a", *lines)).code is codes.HTTP_FRAMING


def test_chunked_is_not_for_http_1_0():
    head = request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")
    assert refusal(head).code is codes.HTTP_FRAMING


def test_two_hosts_are_refused():
    assert refusal(request(b"Host: a", b"host: a")).code is codes.HTTP_HOST


def test_sizes_are_bounded():
    assert refusal(request(*[b"A: b"] * (MAX_HEADERS + 1))).status == 431
    assert refusal(request(start=b"GET /" + b"a" * 9000 + b" HTTP/1.1")).status == 414
    with pytest.raises(HeadError) as caught:
        head_length(bytearray(MAX_HEAD))
    assert caught.value.status == 431
    assert head_length(bytearray(b"GET / HTTP/1.1\r\nA: ")) is None


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n"])
def test_a_bare_line_feed_is_refused_without_waiting_for_the_end(text):
    with pytest.raises(HeadError):
        head_length(bytearray(text))


@pytest.mark.parametrize(
    ("connection", "minor", "kept"),
    [(None, 1, True), (b"close", 1, False), (b"Close", 1, False), (b"x, close", 1, False),
     (None, 0, False), (b"keep-alive", 0, True), (b"Keep-Alive", 1, True)],
)  # fmt: skip
def test_who_keeps_the_connection(connection, minor, kept):
    lines = [] if connection is None else [b"Connection: " + connection]
    head = request(b"Host: a", *lines, start=b"GET / HTTP/1.%d" % minor)
    assert parse_request(head).keep_alive is kept


def test_hop_by_hop_headers_stay_here():
    read = parse_request(
        request(
            b"Host: a.example",
            b"Connection: x-foo, close",
            b"X-Foo: 1",
            b"Proxy-Authorization: Basic c2VjcmV0",
            b"Proxy-Connection: keep-alive",
            b"Keep-Alive: 5",
            b"TE: trailers",
            b"Upgrade: h2c",
            b"X-Bar: 2",
        )
    )
    sent = request_bytes(read, "/", "a.example", b"Via: 1.1 me")
    assert sent == b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Bar: 2\r\nVia: 1.1 me\r\n\r\n"


def test_a_response_is_read_and_written():
    head = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\nX: y\r\n\r\n"
    read = parse_response(head, "GET")
    assert (read.status, read.framing, read.keep_alive) == (200, 3, False)
    assert response_bytes(read) == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "method", "framing"),
    [
        (b"HTTP/1.1 200\r\n\r\n", "GET", "until-close"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", 0),
        (b"HTTP/1.1 204 \r\n\r\n", "GET", 0),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "GET", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", "chunked"),
    ],
)
def test_where_a_response_ends(head, method, framing):
    assert parse_response(head, method).framing == framing


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\0\r\n\r\n",
        b"200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_an_ambiguous_response_is_refused(head):
    refusal(head, lambda text: parse_response(text, "GET"))


@given(
    st.from_regex(rb"[A-Z]{1,8}", fullmatch=True),
    st.from_regex(rb"/[!-~]{0,30}", fullmatch=True),
    st.lists(st.tuples(TOKEN, VALUE), max_size=8),
)
def test_h11_reads_what_we_write_as_we_read_it(method, target, headers):
    special = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"}
    headers = [(n, v) for n, v in headers if n.lower() not in special]
    head = request(
        b"Host: a",
        *(n + b": " + v for n, v in headers),
        start=method + b" " + target + b" HTTP/1.1",
    )
    read = parse_request(head)
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(request_bytes(read, read.target, "a"))
    event = oracle.next_event()
    assert (event.method, event.target) == (method, target)
    dropped = HOP_BY_HOP | read.block.nominated | {b"host"}
    kept = [(n.lower(), v) for n, v in headers if n.lower() not in dropped]
    assert list(event.headers) == [(b"host", b"a"), *kept]


@given(st.binary(max_size=200))
def test_what_we_accept_h11_accepts_too(data):
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    try:
        read = parse_request(head)
    except HeadError:
        return
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(head)
    event = oracle.next_event()
    assert [(n, line.split(b": ", 1)[1]) for n, line in read.block.headers] == list(event.headers)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data):
    for parse in (parse_request, lambda text: parse_response(text, "GET")):
        with contextlib.suppress(HeadError):
            parse(data)


# --- bodies


def run_body(body, data, size):
    buffer, content = bytearray(), b""
    for at in range(0, len(data), size):
        buffer += data[at : at + size]
        content += body.take(buffer)
    return content, bytes(buffer)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 20), st.booleans())
def test_a_chunked_body_survives_any_segmentation(pieces, size, trailer):
    data = b"".join(map(chunk, pieces)) + b"0\r\n" + (b"X: y\r\n" if trailer else b"") + b"\r\n"
    body = ChunkedBody(lenient=False)
    content, rest = run_body(body, data, size)
    assert (content, rest, body.ended) == (b"".join(pieces), b"", True)


def test_bytes_after_the_body_are_left_alone():
    for framing, data in ((3, b"abcNEXT"), ("chunked", b"3\r\nabc\r\n0\r\n\r\nNEXT")):
        body = body_reader(framing, lenient=False)
        assert run_body(body, data, 100) == (b"abc", b"NEXT")
        assert body.ended
    assert run_body(UntilClose(), b"abc", 2) == (b"abc", b"")
    assert Counted(0).ended


@pytest.mark.parametrize(
    "data",
    [b"3;ext=1\r\nabc\r\n", b"0x3\r\n", b" 3\r\n", b"3 \r\n", b"+3\r\n", b"\r\n", b"3\nabc", b"3\r\nabcd\r\n",
     b"3\r\nabc\n", b"123456789\r\n", b"g\r\n", b"-1\r\n", b"3" * 300, b"0\r\nX: y\n\r\n", b"3\r\r\nabc"],
)  # fmt: skip
def test_broken_chunks_are_refused(data):
    with pytest.raises(HeadError):
        run_body(ChunkedBody(lenient=False), data, 1000)


def test_servers_may_send_chunk_extensions_but_not_long_ones():
    assert run_body(ChunkedBody(lenient=True), b"3;a=b\r\nabc\r\n0;z\r\n\r\n", 4) == (b"abc", b"")
    with pytest.raises(HeadError):
        run_body(ChunkedBody(lenient=True), b"3;" + b"a" * 300, 4)


def test_trailers_are_bounded():
    with pytest.raises(HeadError):
        run_body(ChunkedBody(lenient=True), b"0\r\n" + b"X: yyyyyyyy\r\n" * 1000, 1000)


@given(st.binary(max_size=100))
def test_a_chunked_reader_raises_nothing_else(data):
    with contextlib.suppress(HeadError):
        run_body(ChunkedBody(lenient=True), data, 7)
