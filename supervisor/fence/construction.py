"""Inside the set-up child: make the namespace, fill it, read it back, hand it over.

Nothing here runs in the monitor. Each step is named, and a kernel's "no" becomes a Refusal that
says at which step.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.errors import Code, Refusal
from supervisor.fence import addresses, channel, codes, namespace
from supervisor.fence.compare import require_equal
from supervisor.fence.names import NFLOG_GROUP
from supervisor.fence.request import Served
from supervisor.fence.setup import MAP_IDS, MAPPED, NO, report_done, yes_or_no
from supervisor.fence.surroundings import (
    effective_capabilities,
    has_ipv6,
    may_make_network_namespace,
    obstacles,
)
from supervisor.kernel import nflog, nft_changes, nftables, rtnetlink
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    allow_proc_access,
    open_namespace,
    unshare,
)
from supervisor.kernel.netlink import NETLINK_SOCK_DIAG, NetlinkSocket
from supervisor.kernel.ruleset import Table

# Connections that wait while egress starts or is restarted; the kernel caps it at somaxconn.
BACKLOG = 4096


@contextmanager
def step(name: str, code: Code = codes.SETUP_FAILED) -> Iterator[None]:
    """Name what is being done, for the refusal if the kernel says no."""
    try:
        yield
    except OSError as error:
        reasons = [f"{name}: {error}", *obstacles()]
        raise Refusal(code, "; ".join(reasons)) from error


def construct(end: socket.socket, deadline: float, served: Served | None) -> None:
    """Make and report the namespace; see ``setup.create_namespace``. Raises Refusal."""
    user_namespace = _leave(end, deadline, served)
    if user_namespace is None:
        facts = ["loopback-only", NO, yes_or_no(has_ipv6()), "0", NO]
        report_done(end, facts, {"net": open_namespace("net")})
        return
    # AppArmor lets user namespaces be made but gives no capability in them; this is where it shows.
    with step("loopback, addresses and routes", codes.NOT_POSSIBLE):
        ipv6 = _wire_to_ourselves()
    table = namespace.ruleset(served)
    owner, owned = install(table)
    named = {"net": open_namespace("net")}
    if user_namespace:
        named["user"] = open_namespace("user")
    sockets = {"nftables": owner.socket, **watchers()}
    if served is not None:
        sockets |= listeners(served, ipv6=ipv6)
    named |= {name: held.fileno() for name, held in sockets.items()}
    rules = sum(len(chain.rules) for chain in table.chains)
    facts = [yes_or_no(user_namespace), yes_or_no(ipv6), str(rules), yes_or_no(owned)]
    report_done(end, ["namespace", *facts], named)


def install(table: Table) -> tuple[NetlinkSocket, bool]:
    """Send a table as one transaction and compare what the kernel then holds.

    Returns the socket that owns it and whether owning worked. Raises Refusal.
    """
    with step("nftables rules"):
        owner = nftables.open_socket()
        flags = nftables.install(owner, table)
    with step("reading the nftables rules back"):
        held = nftables.read_back(owner, table.name)
    require_equal(held, nftables.expected(table, flags))
    return owner, flags == nftables.OWNED


def watchers() -> dict[str, socket.socket]:
    """What must be bound while CAP_NET_ADMIN is held: blocked attempts and changes of rules."""
    with step("NFLOG and change notifications"):
        return {"nflog": nflog.bind(NFLOG_GROUP), "changes": nft_changes.join()}


def _leave(end: socket.socket, deadline: float, served: Served | None) -> bool | None:
    """Enter a new network namespace. True: inside a new user namespace; None: not needed.

    Raises Refusal when neither is possible.
    """
    refused = []
    if may_make_network_namespace(effective_capabilities()):
        try:
            unshare(CLONE_NEWNET)
        except SyscallError as error:
            refused.append(f"network namespace: {error}")
        else:
            return False
    try:
        allow_proc_access()
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except SyscallError as error:
        refused.append(f"user and network namespace: {error}")
    else:
        channel.send(end, [MAP_IDS])
        if channel.receive(end, deadline) != ([MAPPED], []):
            raise Refusal(codes.IDS_NOT_MAPPED, "the monitor is gone")
        return True
    _require_only_loopback(served, refused)
    return None


def _require_only_loopback(served: Served | None, refused: list[str]) -> None:
    with step("list of interfaces"), rtnetlink.open_socket() as route:
        others = [name for name in rtnetlink.active_interfaces(route) if name != "lo"]
    if others:
        refused.append(f"this namespace has {', '.join(others)}")
    elif served is not None:
        refused.append("this namespace has only lo, and egress is to be served")
    else:
        return
    raise Refusal(codes.NOT_POSSIBLE, "; ".join([*refused, *obstacles()]))


def _wire_to_ourselves() -> bool:
    """Bring lo up and route every address to it; returns whether there is IPv6."""
    with rtnetlink.open_socket() as route:
        rtnetlink.loopback_up(route)
        ipv6 = has_ipv6()
        for source in addresses.SOURCES if ipv6 else addresses.SOURCES[:1]:
            rtnetlink.add_address(route, source)
            rtnetlink.add_local_route(route, source.network.supernet(new_prefix=0), source.ip)
    return ipv6


def listeners(
    served: Served, *, ipv6: bool, after_restart: bool = False
) -> dict[str, socket.socket]:
    """Egress' sockets on loopback, by the names of ``request.FencedNamespace``. Raises Refusal.

    ``after_restart``: connections of a predecessor may still be closing on the same ports.
    """
    families = [("4", socket.AF_INET, "127.0.0.1")]
    if ipv6:
        families.append(("6", socket.AF_INET6, "::1"))
    found: dict[str, socket.socket] = {
        "sock_diag": NetlinkSocket.open(NETLINK_SOCK_DIAG).socket,
    }
    for suffix, family, address in families:
        for name, port in (
            ("capture", served.capture),
            ("proxy", served.proxy),
            ("dns_tcp", served.dns),
        ):
            found[name + suffix] = _listen(family, address, port, shared=after_restart)
        found["dns_udp" + suffix] = _bind(family, socket.SOCK_DGRAM, address, served.dns)
    return found


def _listen(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    listener = _bind(family, socket.SOCK_STREAM, address, port, shared=shared)
    listener.listen(BACKLOG)
    return listener


def _bind(
    family: int, kind: int, address: str, port: int, *, shared: bool = False
) -> socket.socket:
    # No wildcard: answers leave from the address that was asked. No SO_REUSEADDR: nobody else can
    # share the port. With ``shared`` (TCP only) a port may be taken while old connections close on
    # it; a port on which somebody listens is taken in every case, and only one can listen.
    bound = socket.socket(family, kind)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with step(f"listening on {address} port {port}"):
        try:
            bound.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise Refusal(codes.PORT_TAKEN, f"{address} port {port}") from error
    return bound
