"""Rows E9, E10, E15, E17: packets that are not what they seem, and moments of weakness.

Everything that is refused carries a word that the test looks for outside.
"""

import contextlib
import socket
import struct
import time

from talk import (
    ALLOWED,
    ECHO,
    FOREIGN,
    FOREIGN_V6,
    GATEWAY,
    GATEWAY_V6,
    PATIENCE_S,
    SMUGGLED,
    SMUGGLING,
    dial,
    ends,
    row,
    shown,
    talk,
    wish,
)

IP_OPTIONS, IP_FREEBIND = 4, 15  # linux/in.h
LOOSE_SOURCE_ROUTE = 131  # RFC 791 section 3.1


def smuggle(kind, target, *, before=lambda sock: None, size=0, patience_s=PATIENCE_S):
    """Connect and send to ``target`` after ``before(socket)``; what came of it."""

    def attempt():
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        with socket.socket(family, kind) as sock:
            sock.settimeout(patience_s if kind == socket.SOCK_STREAM else 0.2)
            before(sock)
            sock.connect(target)
            sock.sendall(SMUGGLING.ljust(size, b" "))
            return shown(sock.recv(4096))

    return ends(attempt)


def either(target, **options):
    """By TCP and by UDP."""
    return [smuggle(kind, target, **options) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


# Before any other row, and before anything but this module was imported.
FIRST = [*either((GATEWAY, 7)), *either((FOREIGN, 443)), *either((FOREIGN_V6, 443))]


@row
def e15_the_first_thing_a_workload_does():
    return {"found": FIRST, "paired": talk(ECHO, 7, ALLOWED)}


@row
def e15_while_policy_is_replaced():
    """Dial without pause while the test replaces the policy again and again."""
    found, turns = set(), 0
    with dial(ECHO, 7) as kept:
        for _ in wish("replace the policy"):
            found.update(either((GATEWAY, 7)))
            kept.sendall(ALLOWED)
            assert kept.recv(100) == ALLOWED
            turns += 1
            time.sleep(0.01)  # egress is not what is attacked
    return {"found": sorted(found), "turns": turns}


@row
def e9_what_ftp_announces():
    """The control channel is allowed. No helper opens what it names, in neither direction."""
    with socket.create_server(("0.0.0.0", 0)) as server, dial(ECHO, 21) as control:
        control.settimeout(PATIENCE_S)

        def say(line):
            control.sendall(line)
            return control.recv(200).decode().strip()

        high, low = divmod(server.getsockname()[1], 256)
        greeting = control.recv(200).decode().strip()
        passive = say(b"PASV\r\n")
        found = smuggle(socket.SOCK_STREAM, (GATEWAY, 7))
        active = say(f"PORT 0,0,0,0,{high},{low}\r\n".encode())
        server.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            server.accept()
            active = "taken"
    return {"paired": [greeting, passive], "passive": found, "active": active}


@row
def e10_odd_packets():
    def source_route(sock):
        hops = socket.inet_aton(GATEWAY) + socket.inet_aton(FOREIGN)
        option = struct.pack("BBB", LOOSE_SOURCE_ROUTE, 3 + len(hops), 4) + hops + b"\0"
        sock.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, option)

    def source(address):
        def before(sock):
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            sock.bind((address, 0))

        return before

    def last_hop(sock):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)

    def to_all(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    return {
        "source route": either((GATEWAY, 7), before=source_route),
        "fragments": smuggle(socket.SOCK_DGRAM, (GATEWAY, 7), size=20_000),
        "short life": either((GATEWAY, 7), before=last_hop),
        "foreign source": either((GATEWAY, 7), before=source("203.0.113.77"), patience_s=0.5),
        "martian source": either((GATEWAY, 7), before=source("127.0.0.9"), patience_s=0.5),
        "broadcast": smuggle(socket.SOCK_DGRAM, ("255.255.255.255", 9), before=to_all),
        "multicast": smuggle(socket.SOCK_DGRAM, ("224.0.0.251", 5353)),
        "headers of one's own": ends(
            lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
        ),
        "paired": talk(ECHO, 7, ALLOWED),
    }


IPV6_JOIN_GROUP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP = 20, 42, 46  # linux/in6.h, linux/in.h


def joining(option, index):
    """Become a member of a group on this interface, with the word where a program may choose."""

    def address(*parts):
        return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, b"".join(parts), 0).ljust(128, b"\0")

    group, source = (b"\xff\x0e", SMUGGLED), (b"\x20\x01", SMUGGLED)
    values = {
        IPV6_JOIN_GROUP: struct.pack("=16sI", b"".join(group), index),
        MCAST_JOIN_GROUP: struct.pack("=I4x", index) + address(*group),
        MCAST_JOIN_SOURCE_GROUP: struct.pack("=I4x", index) + address(*group) + address(*source),
    }

    def attempt():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, option, values[option])
            time.sleep(1.5)  # the kernel waits up to a second before it reports (RFC 3810, 9.11)

    return ends(attempt)


@row
def e17_names_of_groups():
    """The kernel tells everybody on the link which groups a program joined."""
    options = (IPV6_JOIN_GROUP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP)
    found = [joining(option, index) for option in options for index, _ in socket.if_nameindex()]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 7)
        other = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS)
    return {"found": found, "other option": other, "paired": talk(ECHO, 7, ALLOWED)}


@row
def e17_ipv6_neighbours():
    """The gateway by its addresses, and every neighbour on every interface there is."""
    indices = [index for index, _ in socket.if_nameindex()]
    near = [
        smuggle(kind, (address, 7, 0, index), patience_s=0.5)
        for address in ("fe80::1", "ff02::1")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        for index in indices
    ]
    far = either((FOREIGN_V6, 7)) + either((GATEWAY_V6, 7))
    return {"near": near, "far": far, "paired": talk(ECHO, 7, ALLOWED)}


@row
def f7_an_address_after_its_name_was_taken_away():
    """A program keeps the address. Policy without the name: neither address nor name."""
    name = "fleeting.upstream.example"
    address = socket.getaddrinfo(name, 7, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    before = talk(*address, ALLOWED)
    for _ in wish("take fleeting away"):
        time.sleep(0.05)
    end = time.monotonic() + 10
    while talk(*address) == "echoed" and time.monotonic() < end:
        time.sleep(0.05)
    after = [talk(*address, SMUGGLING), talk(name, 7, SMUGGLING)]
    return {"paired": before, "address": after[0], "name": after[1]}
