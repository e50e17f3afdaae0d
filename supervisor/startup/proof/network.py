"""Probes of the network: nothing leaves, and the fence saw the attempt.

Destinations are documentation addresses (RFC 5737, RFC 3849) and those that must never be reached.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from supervisor.startup.proof.model import Ground, Probe, Sight

# linux/in.h: what there is no constant for, or not in every Python
IPPROTO_UDPLITE, IPPROTO_SCTP, IPPROTO_DCCP = 136, 132, 33
SOCK_DCCP = 6
ALWAYS_THERE = frozenset({socket.IPPROTO_TCP, socket.IPPROTO_UDP})
TIMEOUT_S = 0.5  # a refusal is at once; silence is a surprise

TCP_TARGETS = (
    ("198.51.100.1", 443, 4),
    ("169.254.169.254", 80, 4),
    ("2001:db8::1", 443, 6),
    ("::ffff:198.51.100.2", 8443, 6),
)
UDP_TARGETS = (
    ("203.0.113.1", 443, 4),
    ("224.0.0.251", 5353, 4),
    ("2001:db8::2", 443, 6),
)
# Tried without the filter of system calls, which refuses most of these sockets: the fence must
# hold alone. (name, type, protocol, as the fence sees it)
PROTOCOLS = (
    ("UDP-Lite", socket.SOCK_DGRAM, IPPROTO_UDPLITE, IPPROTO_UDPLITE),
    ("SCTP", socket.SOCK_SEQPACKET, IPPROTO_SCTP, IPPROTO_SCTP),
    ("DCCP", SOCK_DCCP, IPPROTO_DCCP, IPPROTO_DCCP),
    ("UDP", socket.SOCK_DGRAM, socket.IPPROTO_UDP, socket.IPPROTO_UDP),
)


class Echo(NamedTuple):
    """What ping sends: protocol number, and the message's type (RFC 792, RFC 4443)."""

    protocol: int
    kind: int


ECHO_V4, ECHO_V6 = Echo(socket.IPPROTO_ICMP, 8), Echo(socket.IPPROTO_ICMPV6, 128)
# This kernel has no such protocol: no packet can be made. Nothing else may keep a probe from its
# socket, so the monitor's own filter has these protocols too.
NO_SOCKET = frozenset({errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT})
REFUSED = frozenset({errno.ECONNREFUSED, errno.EPERM, errno.EACCES, errno.EHOSTUNREACH})
UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
# linux/rtnetlink.h, linux/netlink.h
RTM_GETLINK, RTM_SETLINK, NFNL_BATCH_BEGIN = 18, 19, 0x10
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR = 2
NETLINK_NETFILTER = 12


def probes(ground: Ground) -> Iterator[Probe]:
    """With everything that the workload has on it."""
    for address, port, version in TCP_TARGETS:
        if version == 4 or ground.ipv6:
            yield _tcp(ground, address, port)
    for address, port, version in UDP_TARGETS:
        if version == 4 or ground.ipv6:
            yield _refused(ground, ("UDP", 17), address, port, partial(_send, address, port))
    for address in ("127.0.0.1", "::1") if ground.ipv6 else ("127.0.0.1",):
        yield Probe(
            name=f"TCP to {address} within", control="network", attempt=partial(_own_tcp, address)
        )
    yield Probe(name="list lo", control="network", attempt=partial(_route, RTM_GETLINK, 0))
    yield Probe(
        name="take lo down",
        control="network",
        attempt=partial(_route, RTM_SETLINK, NLM_F_ACK),
        answers=frozenset({errno.EPERM}),
    )


def probes_of_the_fence_alone(ground: Ground) -> Iterator[Probe]:
    """Without the filter of system calls."""
    addresses = ["203.0.113.7"] + (["2001:db8::7"] if ground.ipv6 else [])
    for name, kind, protocol, _ in PROTOCOLS:
        for address in addresses:
            attempt = partial(_send, address, 7007, kind, protocol)
            yield _refused(ground, (f"{name} past the filter", protocol), address, 7007, attempt)
    for address in addresses:
        echo = ECHO_V6 if ":" in address else ECHO_V4
        attempt = partial(_ping, address, echo)
        yield _refused(ground, ("ping past the filter", echo.protocol), address, None, attempt)
    yield Probe(
        name="change the fence's rules",
        control="network",
        attempt=_begin_batch,
        answers=frozenset({errno.EPERM}),
    )


def _tcp(ground: Ground, address: str, port: int) -> Probe:
    if ground.capture is not None and _is_routed(ground, address):
        return Probe(
            name=f"TCP to {address} port {port} ends at egress",
            control="network",
            attempt=partial(_captured, address, port, ground.capture),
        )
    return _refused(ground, ("TCP", 6), address, port, partial(_connect, address, port))


def _refused(
    ground: Ground,
    protocol: tuple[str, int],
    address: str,
    port: int | None,
    attempt: Callable[[], object],
) -> Probe:
    name, number = protocol
    routed = _is_routed(ground, address)
    sight = Sight(number, _destination(address), port)
    return Probe(
        name=f"{name} to {address}" + ("" if port is None else f" port {port}"),
        control="network",
        attempt=attempt,
        answers=(REFUSED if routed else UNREACHABLE) | NO_SOCKET,
        sight=sight if ground.ruled and routed else None,
        unsent=frozenset() if number in ALWAYS_THERE else NO_SOCKET,
    )


def _destination(address: str) -> IPv4Address | IPv6Address:
    """Where a packet goes: an IPv4 address in IPv6 clothes is an IPv4 address."""
    parsed = ip_address(address)
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _is_routed(ground: Ground, address: str) -> bool:
    return _destination(address).version in ground.routed


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connect(address: str, port: int) -> socket.socket:
    tried = socket.socket(_family(address), socket.SOCK_STREAM)
    tried.settimeout(TIMEOUT_S)
    tried.connect((address, port))
    return tried


def _send(
    address: str, port: int, kind: int = socket.SOCK_DGRAM, protocol: int = socket.IPPROTO_UDP
) -> None:
    with socket.socket(_family(address), kind, protocol) as tried:
        tried.settimeout(TIMEOUT_S)
        if kind != socket.SOCK_DGRAM:
            tried.connect((address, port))
        else:
            tried.sendto(b"proof", (address, port))


def _ping(address: str, echo: Echo) -> None:
    try:
        tried = socket.socket(_family(address), socket.SOCK_DGRAM, echo.protocol)
    except PermissionError as error:
        # net.ipv4.ping_group_range names nobody by default: then no such packet can be made.
        raise OSError(errno.ESOCKTNOSUPPORT, str(error)) from error
    with tried:
        tried.settimeout(TIMEOUT_S)
        tried.sendto(bytes((echo.kind, 0)) + bytes(6), (address, 0))


def _captured(address: str, port: int, capture: int) -> None:
    """Connect, and find the other end in the kernel's own list: it must be egress' listener."""
    with _connect(address, port) as connected:
        own = connected.getsockname()[1]
        for table in ("tcp", "tcp6"):
            try:
                with open(f"/proc/self/net/{table}", encoding="ascii") as lines:
                    ends = [line.split()[1:3] for line in lines]
            except FileNotFoundError:
                continue
            for local, remote in ends[1:]:
                if local.endswith(f":{capture:04X}") and remote.endswith(f":{own:04X}"):
                    return
    raise OSError(errno.EXDEV, "the connection went elsewhere")


def _own_tcp(address: str) -> None:
    with socket.create_server((address, 0), family=_family(address)) as listener:
        with _connect(address, listener.getsockname()[1]):
            listener.settimeout(TIMEOUT_S)
            listener.accept()[0].close()


def _route(message: int, flags: int) -> None:
    """Ask rtnetlink about, or to change, interface 1, which is lo."""
    # struct ifinfomsg: family, type, index, flags, change
    body = b"\0\0\0\0" + (1).to_bytes(4, "little") + bytes(4) + (1).to_bytes(4, "little")
    _netlink(socket.NETLINK_ROUTE, message, flags, body)


def _begin_batch() -> None:
    """Open a batch of changes to nftables: refused as a whole without the capability."""
    _netlink(NETLINK_NETFILTER, NFNL_BATCH_BEGIN, NLM_F_ACK, b"\0\0\0\x0a")


def _netlink(protocol: int, message: int, flags: int, body: bytes) -> None:
    header = b"".join(
        (
            (16 + len(body)).to_bytes(4, "little"),
            message.to_bytes(2, "little"),
            (NLM_F_REQUEST | flags).to_bytes(2, "little"),
            bytes(8),
        )
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as netlink:
        netlink.settimeout(TIMEOUT_S)
        netlink.send(header + body)
        answer = netlink.recv(1 << 16)
    if int.from_bytes(answer[4:6], "little") == NLMSG_ERROR:
        number = -int.from_bytes(answer[16:20], "little", signed=True)
        if number:
            raise OSError(number, os.strerror(number))
