"""Rows E of the attack list, in both forms of the fence, each with its paired allowed case.

The attacker is the workload's user inside the fence; where it plays root, that is named.
"""

import contextlib
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable

import pytest
from support.fences import REFUSALS, enter, send_to
from support.forked import CLONE_NEWNET, in_child
from support.pods import (
    OUTSIDE_V4,
    REQUEST,
    WORKLOAD,
    Running,
    World,
    dial,
    held,
    original_destination,
    send_udp,
)

from supervisor.fence.names import TABLE
from supervisor.fence.request import Served
from supervisor.fence.rules import LOGGED_BURST, LOGGED_PER_SECOND
from supervisor.fence.setup import create_namespace, install_pod_fence
from supervisor.kernel import nflog, nftables

FOREIGN = "203.0.113.5"
FORMS = ("namespace", "pod")
ETH_P_IP = 0x0800


class Fenced:
    """One form of the fence; ``start`` runs a function inside it as some user."""

    def __init__(self, form: str) -> None:
        self.form = form
        if form == "namespace":
            self.fence = create_namespace(Served())
        else:
            World()
            self.fence = install_pod_fence(REQUEST)

    def _enter(self) -> None:
        if self.form == "namespace":
            enter(self.fence)

    def start(self, function: Callable[[], object], uid: int = WORKLOAD) -> Running:
        return Running(uid, function, before=self._enter)

    def captured(self, listener: str = "capture4") -> tuple[str, int]:
        """Accept one captured connection, greet it, and return where it was going."""
        with held(self.fence, listener) as capture:
            accepted, _ = capture.accept()
        with accepted:
            accepted.sendall(b"egress")
            return original_destination(accepted)


def in_form(form, work):
    return in_child(lambda: work(Fenced(form)), unshare=CLONE_NEWNET)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("address", "listener", "seen"),
    [
        (FOREIGN, "capture4", FOREIGN),
        ("2001:db8::5", "capture6", "2001:db8::5"),
        (f"::ffff:{FOREIGN}", "capture4", FOREIGN),
    ],
)
def test_e1_e18_every_tcp_dial_lands_at_egress_whatever_the_socket(form, address, listener, seen):
    def work(fenced):
        client = fenced.start(dial(address, 443))
        return fenced.captured(listener), client.result()

    assert in_form(form, work) == ((seen, 443), b"egress")


@pytest.mark.parametrize("form", FORMS)
def test_e6_multipath_tcp_lands_at_egress_too(form):
    def connect():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP) as client:
            client.settimeout(5)
            client.connect((FOREIGN, 443))
            return client.recv(10)

    def work(fenced):
        client = fenced.start(connect)
        return fenced.captured(), client.result()

    assert in_form(form, work) == ((FOREIGN, 443), b"egress")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("port", Served())
def test_e7_egress_ports_on_another_host_are_just_destinations(form, port):
    def work(fenced):
        client = fenced.start(dial(FOREIGN, port))
        return fenced.captured(), client.result()

    assert in_form(form, work) == ((FOREIGN, port), b"egress")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("uid", [WORKLOAD, 0])
@pytest.mark.parametrize(("protocol", "port"), [(0, 443), (0, 5353), (0, 123), (136, 53)])
def test_e2_e3_datagrams_are_refused(form, uid, protocol, port):
    def work(fenced):
        attempt = fenced.start(
            lambda: send_to(FOREIGN, kind=socket.SOCK_DGRAM, protocol=protocol, port=port), uid
        )
        return attempt.result()

    assert in_form(form, work) in REFUSALS


def fragment(offset: int) -> bytes:
    """A fragment of a UDP datagram to the outside, its headers made by hand."""
    payload = struct.pack("!HHHH", 9, 53, 1400, 0) + bytes(16)
    more = 0x2000 if offset == 0 else 0
    head = struct.pack(
        "!BBHHHBBH", 0x45, 0, 20 + len(payload), 77, more | offset, 64, socket.IPPROTO_UDP, 0
    )
    return head + socket.inet_aton("0.0.0.0") + socket.inet_aton(OUTSIDE_V4) + payload


def test_e10_fragments_do_not_leave_even_from_root_while_egress_packets_do():
    def send_fragments():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as wire:
            for offset in (0, 3, 100):
                # Either refused, or held back for a reassembly that never comes.
                with contextlib.suppress(PermissionError):
                    wire.sendto(fragment(offset), (OUTSIDE_V4, 0))

    def work():
        world = World()
        install_pod_fence(REQUEST)
        with world.being_outside():
            sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        with sniffer:
            sniffer.settimeout(0.3)
            send_fragments()
            with pytest.raises(TimeoutError):
                sniffer.recv(100)
            Running(REQUEST.egress_uid, lambda: send_udp(OUTSIDE_V4, 5353)).result()
            return sniffer.recv(100)[9]

    assert in_child(work, unshare=CLONE_NEWNET) == socket.IPPROTO_UDP


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("level", "option", "value"),
    [
        (socket.SOL_SOCKET, socket.SO_MARK, 0x5B),
        (socket.SOL_IP, 19, 1),  # IP_TRANSPARENT
    ],
)
def test_e11_marks_and_transparent_sockets_need_a_capability(form, level, option, value):
    def attack():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(level, option, value)

    def work(fenced):
        with pytest.raises(PermissionError):
            fenced.start(attack).result()

    in_form(form, work)


@pytest.mark.parametrize("form", FORMS)
def test_e11_a_packet_mark_is_no_key_even_for_root(form):
    def attack():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x5B)
            client.sendto(b"x", (FOREIGN, 9))

    def work(fenced):
        with pytest.raises(PermissionError):
            fenced.start(attack, uid=0).result()

    in_form(form, work)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "words",
    [["delete", "table", "inet", TABLE], ["flush", "chain", "inet", TABLE, "output"]],
)
def test_e14_the_table_cannot_be_removed_with_or_without_capability(form, words):
    def attack():
        return subprocess.run(["nft", *words], capture_output=True).returncode

    def work(fenced):
        results = [fenced.start(attack, uid).result() for uid in (WORKLOAD, 0)]
        return results, fenced.start(lambda: send_to(FOREIGN, kind=socket.SOCK_DGRAM)).result()

    results, refusal = in_form(form, work)

    assert 0 not in results
    assert refusal in REFUSALS


def test_e17_ipv6_that_comes_later_finds_the_same_rules():
    def work():
        world = World()
        switch("1")
        fence = install_pod_fence(REQUEST)
        switch("0")
        subprocess.run(["ip", "address", "add", "fd77::2/64", "dev", "eth0", "nodad"], check=True)
        subprocess.run(["ip", "-6", "route", "add", "default", "via", "fd77::1"], check=True)
        refusals = [
            send_to("fd77::1", kind=socket.SOCK_DGRAM, port=5353),
            send_to("fd77::1", kind=socket.SOCK_STREAM, port=8443),
        ]
        with world.listener("fd77::1", 8443) as server:
            client = Running(REQUEST.egress_uid, dial("fd77::1", 8443))
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"allowed")
            allowed = client.result()
        return fence.report.ipv6, sorted(fence.sockets), refusals, allowed

    def switch(value):
        for name in ("all", "lo", "eth0"):
            with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
                file.write(value)

    ipv6, sockets, refusals, allowed = in_child(work, unshare=CLONE_NEWNET)

    assert not ipv6
    assert not [name for name in sockets if name.endswith("6")]
    assert set(refusals) <= REFUSALS
    assert allowed == b"allowed"


@pytest.mark.parametrize("form", FORMS)
def test_e19_a_port_scan_is_counted_in_full_and_logged_in_part(form):
    ports = 2000

    def scan():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for port in range(1, ports + 1):
                with contextlib.suppress(PermissionError):
                    client.sendto(b"x", (FOREIGN, port))
        return time.monotonic()

    def count():
        with nftables.open_socket() as channel:
            return nftables.counters(channel, TABLE)["blocked out"]

    def work(fenced):
        start = time.monotonic()
        end = fenced.start(scan).result()
        logged = 0
        with socket.socket(fileno=os.dup(fenced.fence.sockets["nflog"])) as log:
            while batch := nflog.receive(log):
                logged += len(batch)
        return end - start, logged, fenced.start(count, uid=0).result()

    seconds, logged, counted = in_form(form, work)

    assert counted >= ports - 1
    assert 1 <= logged <= LOGGED_BURST + LOGGED_PER_SECOND * (seconds + 1)


def test_the_wire_of_the_pod_is_there_so_that_the_refusals_mean_something():
    def work():
        world = World()
        with world.listener(OUTSIDE_V4, 5353, socket.SOCK_DGRAM) as server:
            assert send_to(OUTSIDE_V4, kind=socket.SOCK_DGRAM, port=5353) == 0
            return len(server.recv(100))

    assert in_child(work, unshare=CLONE_NEWNET) > 0
