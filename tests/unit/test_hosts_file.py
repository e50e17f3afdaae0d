from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.egress import hosts
from supervisor.egress.hosts import HostsError, parse_hosts

ORDINARY = b"""# made by an engine
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost
10.88.0.1 host.containers.internal gateway  # the host

10.88.0.7\tDb.Example db
10.88.0.8 db.example.
"""


def test_an_ordinary_file_is_read_both_ways():
    read = parse_hosts(ORDINARY)
    assert read.addresses["db.example"] == (ip_address("10.88.0.7"), ip_address("10.88.0.8"))
    assert read.addresses["localhost"] == (ip_address("127.0.0.1"), ip_address("::1"))
    assert read.names[ip_address("10.88.0.1")] == ("host.containers.internal", "gateway")
    assert read.skipped == ()


@pytest.mark.parametrize(
    "line",
    [b"127.1 a", b"0x7f000001 a", b"2130706433 a", b"010.0.0.1 a", b"fe80::1%eth0 a", b"a 10.0.0.1", b"10.0.0.1",
     b"10.0.0.1 a b..c", b"10.0.0.1 \xc3\xa9", b"10.0.0.1 *.example.com", b"10.0.0.1 10.0.0.2", b"10.0.0.1/8 a",
     "\u2460.0.0.1 a".encode()],
)  # fmt: skip
def test_a_line_that_is_not_plain_is_left_out_whole_and_reported(line):
    read = parse_hosts(b"10.0.0.9 fine\n" + line + b"\n")
    assert [number for number, _ in read.skipped] == [2]
    assert read.addresses == {"fine": (ip_address("10.0.0.9"),)}


def test_what_is_no_hosts_file_is_refused():
    for content in (b"a" * (hosts.MAX_FILE + 1), b"10.0.0.1 a\0b"):
        with pytest.raises(HostsError):
            parse_hosts(content)


def test_the_number_of_names_is_bounded():
    lines = b"".join(b"10.0.0.1 n%d\n" % n for n in range(hosts.MAX_NAMES + 1))
    with pytest.raises(HostsError, match="names"):
        parse_hosts(lines)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content):
    try:
        read = parse_hosts(content)
    except HostsError:
        return
    assert set(read.names) == {a for found in read.addresses.values() for a in found}


@pytest.mark.parametrize(
    ("lines", "gateway"),
    [
        (b"169.254.1.2 host.containers.internal host.docker.internal", "169.254.1.2"),
        (
            b"169.254.1.2 host.docker.internal\n169.254.169.254 host.containers.internal",
            "169.254.1.2",
        ),
        (b"169.254.169.254 host.docker.internal", None),
        (b"10.88.0.1 host.containers.internal", None),  # the ordinary rules open it
        (b"169.254.1.2 elsewhere.internal", None),
        (b"169.254.1.2 host.docker.internal\n169.254.1.3 host.containers.internal", None),
    ],
)
def test_the_gateway_is_the_one_link_local_address_of_the_hosts_names(lines, gateway):
    found = hosts.host_gateway(parse_hosts(lines + b"\n"))
    assert found == (None if gateway is None else ip_address(gateway))
