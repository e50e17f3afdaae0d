import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.no_proxy import MAX_ENTRIES, NoProxyError, parse_no_proxy


@pytest.mark.parametrize(
    ("entry", "name", "port", "covered"),
    [
        ("build.example.com", "build.example.com", 443, True),
        ("BUILD.example.com.", "build.example.com", 443, True),
        ("build.example.com", "a.build.example.com", 443, False),
        ("build.example.com", "xbuild.example.com", 443, False),
        (".example.com", "a.example.com", 80, True),
        (".example.com", "a.b.example.com", 80, True),
        (".example.com", "example.com", 80, False),
        (".example.com", "badexample.com", 80, False),
        ("build.example.com:8443", "build.example.com", 8443, True),
        ("build.example.com:8443", "build.example.com", 443, False),
        (".example.com:8443", "a.example.com", 8443, True),
        ("192.0.2.7", "192.0.2.7.example.com", 443, False),
        ("a.example, .b.example", "x.b.example", 443, True),
        ("", "a.example", 443, False),
    ],
)
def test_names(entry, name, port, covered):
    assert parse_no_proxy(entry).covers_name(name, port) is covered


@pytest.mark.parametrize(
    ("entry", "address", "port", "covered"),
    [
        ("10.0.0.0/8", "10.255.0.1", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/8", "2001:db8::1", 443, False),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7", "192.0.2.8", 443, False),
        ("192.0.2.7:80", "192.0.2.7", 443, False),
        ("2001:db8::1", "2001:db8::1", 443, True),
        ("[2001:db8::1]", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 80, False),
        ("2001:db8::/32", "2001:db8:5::1", 80, True),
        ("a.example", "192.0.2.7", 443, False),
    ],
)
def test_addresses(entry, address, port, covered):
    assert parse_no_proxy(entry).covers_address(ip_address(address), port) is covered


@pytest.mark.parametrize(
    "text",
    ["*", "*.example.com", ",", "a.example,", "a b", "http://a.example", "a.example/8", "10.0.0.1/8",
     "10.0.0.0/33", "a.example:", "a.example:0", "a.example:65536", "a.example:\u0663", ".10.0.0.1",
     "..example", ".", "127.1", "0x7f.1", "[::1", "10.0.0.0/8:80", "a.example:80:80", "fe80::1%eth0",
     ",".join(["a.example"] * (MAX_ENTRIES + 1))],
)  # fmt: skip
def test_an_entry_without_one_meaning_is_refused(text):
    with pytest.raises(NoProxyError):
        parse_no_proxy(text)


@given(st.text(max_size=60))
def test_no_text_raises_anything_else(text):
    with contextlib.suppress(NoProxyError):
        assert not parse_no_proxy(text).covers_name("\0", 443)
