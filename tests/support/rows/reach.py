"""Rows E: addresses and protocols; rows G and H2: hosts and targets for the proxy."""

import ctypes
import socket
import time

from talk import (
    ECHO,
    FOREIGN,
    FOREIGN_V6,
    GATEWAY,
    OTHER,
    PATIENCE_S,
    PROBE,
    PROXY,
    ask,
    datagram,
    ends,
    row,
    shown,
    talk,
    through_proxy,
)


@row
def e1_tcp_to_an_address():
    began = time.monotonic()
    found = [talk(FOREIGN, 443), talk(FOREIGN_V6, 443), talk(FOREIGN, 22)]
    return {"found": found, "seconds": time.monotonic() - began, "paired": talk(ECHO, 7)}


@row
def e2_e3_e5_datagrams_of_every_kind():
    targets = [(FOREIGN, 443), (FOREIGN, 123), (GATEWAY, 9999), (FOREIGN_V6, 443)]
    return {
        "udp": [datagram(0, target) for target in targets],
        "udplite": [datagram(136, target) for target in targets],
        "sctp": ends(lambda: datagram(132, targets[0], socket.SOCK_STREAM)),
        "dccp": ends(lambda: datagram(33, targets[0], 6)),
        "raw": [ends(lambda p=p: socket.socket(socket.AF_INET, socket.SOCK_RAW, p).close())
                for p in (1, 2, 4, 47, 50, 115, 255)],
        "ping": datagram(1, (FOREIGN, 0)),
        "packet": ends(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "paired": ask(ECHO)["answers"],
    }  # fmt: skip


@row
def e6_mptcp():
    def through(address):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(address)
            sock.sendall(PROBE)
            return shown(sock.recv(4096))

    return {"found": ends(lambda: through((FOREIGN, 443)))}


@row
def e7_the_proxys_port_elsewhere():
    return {"found": [talk(FOREIGN, port) for port in (61001, 61053, 61080)]}


@row
def e11_marks_and_devices():
    def option(level, name, value):
        with socket.socket() as sock:
            sock.setsockopt(level, name, value)

    def bound():
        """Without privilege since Linux 5.7: past the loopback that leads to egress?"""
        with socket.socket() as sock:
            sock.settimeout(2)
            sock.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")
            sock.connect((GATEWAY, 7))
            sock.sendall(PROBE)
            return shown(sock.recv(4096))

    return {
        "by device": ends(bound),
        "SO_MARK": ends(lambda: option(socket.SOL_SOCKET, 36, 0x5B)),
        "IP_TRANSPARENT": ends(lambda: option(socket.IPPROTO_IP, 19, 1)),
    }


@row
def e13_the_gateway_and_what_listens_there():
    """Reached by address, the servers that policy names are not those."""
    return {"found": [talk(GATEWAY, port) for port in (7, 22, 80, 443, 5432)]}


@row
def e14_the_rules():
    return {
        "netfilter": ends(lambda: socket.socket(16, socket.SOCK_RAW, 12).close()),
        "unshare": ctypes.CDLL(None, use_errno=True).unshare(0x40000000) and ctypes.get_errno(),
    }


@row
def e18_mapped():
    return {"found": talk(f"::ffff:{FOREIGN}", 443, family=socket.AF_INET6)}


@row
def e19_a_port_scan():
    began = time.monotonic()
    found = set()
    for port in range(1, 301):
        with socket.socket() as sock:
            sock.settimeout(PATIENCE_S)
            found.add(ends(lambda s=sock, p=port: s.connect((FOREIGN, p)) or "taken"))
    return {"found": sorted(found), "seconds": time.monotonic() - began, "paired": talk(ECHO, 7)}


@row
def g1_g2_g3_g5_hosts_that_are_none():
    hosts = [
        "2852039166:80", "0xa9fea9fe:80", "0251.0376.0251.0376:80", "169.254.43518:80", "127.1:80",
        "0:80", "①②⑦.0.0.1:80", "127。0。0。1:80", "[::ffff:a9fe:a9fe]:80", "[::169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80", "[fe80::1%25eth0]:80",
        "user:pass@" + ECHO + ":443", ECHO + ":443:443", "[::1]junk:80", "//" + ECHO, ECHO + "\\:443",
        ECHO + ":0", ECHO + ":65536", ECHO + ":+443", ECHO, "a" * 5000 + ":443", "x" + ECHO + ":443",
        ECHO + "\0:443", "localhost:61001", "127.0.0.1:61080",
    ]  # fmt: skip
    found = {host[:40]: through_proxy(host) for host in hosts}
    return {"found": found, "paired": through_proxy(f"{ECHO}:443")}


@row
def h2_absolute_form():
    target = f"http://{ECHO}/hi"

    def attempt(host):
        with socket.create_connection(PROXY, PATIENCE_S) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return sock.recv(65536).split(b"\r\n")[0].decode()

    return {"found": ends(lambda: attempt(OTHER)), "paired": ends(lambda: attempt(ECHO))}
