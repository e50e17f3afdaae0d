import socket
from ipaddress import ip_address

import pytest

from supervisor.events import blocked_codes as codes
from supervisor.events.blocked import code_of
from supervisor.events.denial_table import DenialTable
from supervisor.kernel.nflog import Blocked
from supervisor.monitor.blocked_packets import event_of


@pytest.mark.parametrize(
    ("protocol", "port", "code"),
    [
        (17, 53, codes.OTHER_RESOLVER),
        (6, 853, codes.OTHER_RESOLVER),
        (17, 5353, codes.OTHER_RESOLVER),
        (17, 443, codes.QUIC),
        (17, 123, codes.UDP),
        (17, None, codes.UDP),
        (6, 22, codes.TCP),
        (1, None, codes.ICMP),
        (58, None, codes.ICMP),
        (132, 443, codes.RAW),
        (136, 53, codes.RAW),
        (255, None, codes.RAW),
    ],
)
def test_each_kind_of_attempt_has_its_own_code_and_remedy(protocol, port, code):
    assert code_of(protocol, port) is code


def test_a_packet_becomes_an_event_with_user_target_and_remedy():
    packet = Blocked("blocked out", 1000, 1001, socket.IPPROTO_UDP, ip_address("192.0.2.7"), 443)

    event = event_of(packet)

    assert (event.uid, event.gid, event.protocol) == (1000, 1001, 17)
    assert (event.destination.ip, event.destination.port) == ("192.0.2.7", 443)
    assert event.why.code == "blocked.quic"
    assert "HTTP/3" in event.why.remedy


def test_a_packet_that_kept_to_its_interface_is_told_apart():
    packet = Blocked("blocked wire", 1000, 1000, 17, ip_address("127.0.0.1"), 61053)

    assert event_of(packet).why.code == "blocked.interface"


def test_attempts_at_the_same_target_are_summed():
    table = DenialTable()
    packet = Blocked("blocked out", 1000, 1000, 17, ip_address("2001:db8::7"), 443)
    for when in range(5):
        table.add(event_of(packet), float(when))

    (line,) = table
    assert (line.key.host, line.count, line.first, line.last) == ("2001:db8::7", 5, 0.0, 4.0)
