"""The closed namespace: what goes out, what stays, who may change it."""

import errno
import json
import os
import socket
import struct
import subprocess

import pytest
from support.fences import REFUSALS, WORKLOAD, as_user, become, enter, inside, send_to
from support.forked import CLONE_NEWNET, in_child

from supervisor.fence.names import TABLE
from supervisor.fence.setup import create_namespace
from supervisor.kernel import nflog, nftables

FOREIGN_V4 = "198.51.100.7"
FOREIGN_V6 = "2001:db8::7"

UDP_LITE, SCTP, GRE, DCCP = 136, 132, 47, 33

ATTEMPTS = {
    "tcp": {"kind": socket.SOCK_STREAM, "port": 443},
    "tcp to port 53": {"kind": socket.SOCK_STREAM, "port": 53},
    "mptcp": {"kind": socket.SOCK_STREAM, "protocol": socket.IPPROTO_MPTCP, "port": 443},
    "sctp": {"kind": socket.SOCK_STREAM, "protocol": SCTP, "port": 443},
    "udp": {"kind": socket.SOCK_DGRAM},
    "dns": {"kind": socket.SOCK_DGRAM, "port": 53},
    "quic": {"kind": socket.SOCK_DGRAM, "port": 443},
    "udp-lite": {"kind": socket.SOCK_DGRAM, "protocol": UDP_LITE},
    "ping": {"kind": socket.SOCK_RAW, "protocol": socket.IPPROTO_ICMP, "port": 0},
    "icmpv6": {"kind": socket.SOCK_RAW, "protocol": socket.IPPROTO_ICMPV6, "port": 0},
    "gre": {"kind": socket.SOCK_RAW, "protocol": GRE, "port": 0},
    "raw sctp": {"kind": socket.SOCK_RAW, "protocol": SCTP, "port": 0},
    "raw dccp": {"kind": socket.SOCK_RAW, "protocol": DCCP, "port": 0},
}
# Not built into every kernel; a program there gets this from socket(2) itself.
UNAVAILABLE = {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.ENOPROTOOPT}


def blocked_out() -> int:
    with nftables.open_socket() as channel:
        counted = nftables.counters(channel, TABLE)
    return counted["blocked out tcp"] + counted["blocked out"]


@pytest.mark.parametrize("address", [FOREIGN_V4, FOREIGN_V6, "::ffff:198.51.100.7"])
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_leaves_by_any_protocol_and_every_attempt_is_counted(attempt, address):
    def work():
        before = blocked_out()
        return send_to(address, **ATTEMPTS[attempt]), blocked_out() - before

    refusal, counted = inside(create_namespace(None), work)

    if refusal not in UNAVAILABLE:
        assert refusal in REFUSALS
        assert counted >= 1


def test_a_packet_with_a_forged_source_does_not_leave():
    def work():
        before = blocked_out()
        header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, socket.IPPROTO_UDP, 0)
        packet = header + socket.inet_aton("203.0.113.9") + socket.inet_aton(FOREIGN_V4)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as wire:
            with pytest.raises(PermissionError):
                wire.sendto(packet + struct.pack("!HHHH", 9, 9, 8, 0), (FOREIGN_V4, 0))
        return blocked_out() - before

    assert inside(create_namespace(None), work) >= 1


@pytest.mark.parametrize("address", [FOREIGN_V4, FOREIGN_V6])
def test_a_refusal_comes_at_once_so_that_programs_do_not_wait(address):
    def work():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as wire:
            wire.settimeout(30)
            with pytest.raises(ConnectionRefusedError):
                wire.connect((address, 443))

    inside(create_namespace(None), work)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "192.0.2.1"])
def test_loopback_and_own_addresses_work_inside(address):
    def work():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as server, socket.socket(family) as client:
            server.bind((address, 0))
            server.listen()
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"x")
                over_tcp = accepted.recv(1)
        with (
            socket.socket(family, socket.SOCK_DGRAM) as server,
            socket.socket(family, socket.SOCK_DGRAM) as client,
        ):
            server.bind((address, 0))
            client.sendto(b"y", server.getsockname())
            return over_tcp, server.recv(1)

    assert inside(create_namespace(None), work) == (b"x", b"y")


def test_lo_is_the_only_interface():
    names = inside(create_namespace(None), lambda: [name for _, name in socket.if_nameindex()])

    assert names == ["lo"]


def test_a_wire_that_someone_adds_later_carries_nothing_in_or_out():
    fence = create_namespace(None)

    def work():
        run = subprocess.check_call
        run(["ip", "link", "add", "fw0", "type", "veth", "peer", "name", "fw1"])
        run(["ip", "address", "add", "10.99.0.1/24", "dev", "fw0"])
        run(["ip", "link", "set", "fw0", "up"])
        run(
            ["ip", "link", "set", "fw1", "netns", f"/proc/self/fd/{fence.net}"],
            pass_fds=[fence.net],
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            enter(fence)
            run(["ip", "address", "add", "10.99.0.2/24", "dev", "fw1"])
            run(["ip", "link", "set", "fw1", "up"])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.bind(("0.0.0.0", 4000))
                receiver.settimeout(0.5)
                for _ in range(3):
                    sender.sendto(b"in", ("10.99.0.2", 4000))
                with pytest.raises(TimeoutError):
                    receiver.recv(10)
                before = blocked_out()
                refusal = send_to("10.99.0.1", kind=socket.SOCK_STREAM, patience_s=0.5)
                with nftables.open_socket() as channel:
                    counted_in = nftables.counters(channel, TABLE)["blocked in"]
        return counted_in, blocked_out() - before, refusal

    counted_in, counted_out, refusal = in_child(work, unshare=CLONE_NEWNET)

    assert counted_in >= 1
    assert counted_out >= 1
    assert refusal != 0


def test_nflog_tells_who_tried_what():
    fence = create_namespace(None)

    def work():
        become(WORKLOAD)
        send_to(FOREIGN_V4, kind=socket.SOCK_DGRAM, port=4433)
        send_to(FOREIGN_V6, kind=socket.SOCK_STREAM, port=22)

    inside(fence, work)
    with socket.socket(fileno=fence.sockets["nflog"]) as channel:
        seen = []
        while len(seen) < 2:
            channel.settimeout(5)
            seen += nflog.receive(channel)

    facts = [
        (item.prefix, item.uid, item.gid, item.protocol, str(item.destination), item.port)
        for item in seen
    ]
    assert facts[0] == ("blocked out", WORKLOAD, WORKLOAD, 17, FOREIGN_V4, 4433)
    assert ("blocked out", WORKLOAD, WORKLOAD, 6, FOREIGN_V6, 22) in facts


def test_another_program_with_net_admin_cannot_change_the_owned_table():
    def work():
        return [
            subprocess.run(["nft", *words], capture_output=True, text=True).returncode
            for words in (
                ["delete", "table", "inet", TABLE],
                ["flush", "chain", "inet", TABLE, "output"],
                ["insert", "rule", "inet", TABLE, "output", "accept"],
            )
        ]

    assert 0 not in inside(create_namespace(None), work)


def without_our_sockets():
    fence = create_namespace(None)
    for descriptor in fence.sockets.values():
        os.close(descriptor)
    return fence


def test_the_rules_hold_without_any_process_of_ours():
    def work():
        before = blocked_out()
        return send_to(FOREIGN_V4, kind=socket.SOCK_STREAM), blocked_out() - before

    assert inside(without_our_sockets(), work) == (errno.ECONNREFUSED, 1)


def test_even_without_rules_there_is_no_wire():
    def work():
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        return send_to(FOREIGN_V4, kind=socket.SOCK_STREAM)

    assert inside(without_our_sockets(), work) != 0


def test_nft_reads_the_same_rules_as_we_do():
    def work():
        text = subprocess.check_output(["nft", "-j", "list", "ruleset"])
        return json.loads(text)["nftables"]

    listed = inside(create_namespace(None), work)
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    rules = [item["rule"] for item in listed if "rule" in item]

    assert {name: chain["policy"] for name, chain in chains.items()} == {
        "output": "drop",
        "input": "drop",
        "forward": "drop",
    }
    accepted = [
        rule["comment"]
        for rule in rules
        if rule["chain"] == "output" and {"accept": None} in rule["expr"]
    ]
    assert accepted == [
        "to 127.0.0.0/8",
        "to ::1/128",
        "to 192.0.2.1/32",
        "to fdc6:5e1f:9d07:1::1/128",
    ]


def test_an_unprivileged_user_gets_the_same_fence_in_a_user_namespace():
    def work():
        fence = create_namespace(None)
        enter(fence)
        refusals = [
            send_to(FOREIGN_V4, kind=socket.SOCK_STREAM),
            send_to(FOREIGN_V6, kind=socket.SOCK_STREAM),
            send_to(FOREIGN_V4, kind=socket.SOCK_DGRAM),
        ]
        with open("/proc/self/uid_map") as lines:
            return fence.report, refusals, lines.read().split()

    report, refusals, uid_map = as_user(WORKLOAD, work)

    assert report.form == "namespace"
    assert report.user_namespace
    assert report.table_owned
    assert set(refusals) <= REFUSALS
    assert uid_map == [str(WORKLOAD), str(WORKLOAD), "1"]
