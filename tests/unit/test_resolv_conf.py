from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress.resolv_conf import (
    MAX_FILE,
    ResolvConf,
    ResolvConfError,
    parse_resolv_conf,
    parse_servers,
)


def test_an_ordinary_file_is_read():
    content = b"""# kubelet
search ns.svc.cluster.local svc.cluster.local
nameserver 10.96.0.10
nameserver 2001:db8::53
options ndots:5 timeout:2 attempts:3 edns0 trust-ad
"""
    servers = (ip_address("10.96.0.10"), ip_address("2001:db8::53"))
    assert parse_resolv_conf(content) == ResolvConf(servers=servers, timeout_s=2, attempts=3)


def test_defaults_and_bounds_are_those_of_the_manual():
    assert parse_resolv_conf(b"nameserver 127.0.0.53\n").timeout_s == 5
    wild = parse_resolv_conf(b"nameserver 1.1.1.1\noptions timeout:99999 attempts:0 timeout: x:1\n")
    assert (wild.timeout_s, wild.attempts) == (30, 1)
    many = parse_resolv_conf(b"".join(b"nameserver 10.0.0.%d\n" % n for n in range(1, 6)))
    assert len(many.servers) == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"search a\n", b"nameserver\n", b"nameserver localhost\n", b"nameserver 127.1\n",
     b"nameserver fe80::1%eth0\n", b"#nameserver 1.1.1.1\n", b"a" * (MAX_FILE + 1)],
)  # fmt: skip
def test_a_file_without_a_server_to_ask_is_refused(content):
    with pytest.raises(ResolvConfError):
        parse_resolv_conf(content)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content):
    try:
        assert parse_resolv_conf(content).servers
    except ResolvConfError as error:
        assert str(error)  # noqa: PT017


def test_servers_on_argv_take_the_files_place():
    servers = (ip_address("10.0.0.53"), ip_address("2001:db8::53"))
    assert parse_servers("10.0.0.53, 2001:db8::53") == ResolvConf(servers=servers)


@pytest.mark.parametrize(
    "text", ["", ",", "10.0.0.53,", "dns.example", "10.0.0.53:53", "127.1", "fe80::1%eth0",
             "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4"],
)  # fmt: skip
def test_servers_on_argv_are_addresses(text):
    with pytest.raises(ResolvConfError):
        parse_servers(text)
