"""Inside the set-up child: look around, fence the pod's network namespace, read it back.

Everything is checked before anything is changed, and the rules are one transaction. The routes of
the synthetic addresses come last: if they fail, what stands is closed.
"""

import os
import socket

from supervisor.errors import Refusal
from supervisor.fence import addresses, checks, codes, pod
from supervisor.fence.construction import install, listeners, step, watchers
from supervisor.fence.request import PodRequest
from supervisor.fence.setup import report_done, yes_or_no
from supervisor.fence.surroundings import CAP_NET_ADMIN, effective_capabilities, has_ipv6
from supervisor.kernel import nftables, rtnetlink, waiting_ports
from supervisor.kernel.namespaces import open_namespace, owned_by_initial_user_namespace
from supervisor.kernel.ruleset import Table

# What goes into the report has to fit into one message to the monitor, whatever the pod holds.
REPORTED_PORTS = 500
REPORTED_TABLES = 20

LEGACY_TABLES = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")
LEGACY_NAT = "nat"


def construct(end: socket.socket, request: PodRequest) -> None:
    """Fence and report; see ``setup.install_pod_fence``. Raises Refusal."""
    checks.require_distinct_users(request)
    checks.require_usable_ports(request.served)
    if CAP_NET_ADMIN not in effective_capabilities():
        raise Refusal(codes.NO_NET_ADMIN, "this process has no CAP_NET_ADMIN")
    others = _look_around(request)
    ipv6 = has_ipv6()
    with step("ports that are bound in the pod"), waiting_ports.open_socket() as ask:
        taken_tcp = waiting_ports.waiting_ports(ask, socket.IPPROTO_TCP)
        taken_udp = waiting_ports.waiting_ports(ask, socket.IPPROTO_UDP)
    # Listeners first: a port that is taken is a refusal before anything was changed.
    sockets = listeners(request.served, ipv6=ipv6)
    table = pod.ruleset(request, taken_tcp, taken_udp)
    owner, owned = install(table)
    with step("routes of synthetic addresses"):
        _route_pools(ipv6=ipv6)
    sockets |= {"nftables": owner.socket, **watchers()}
    facts = [
        yes_or_no(ipv6),
        str(sum(len(chain.rules) for chain in table.chains)),
        yes_or_no(owned),
        _ports(table, pod.CLOSED_TCP),
        _ports(table, pod.CLOSED_UDP),
        " ".join(others[:REPORTED_TABLES]),
    ]
    report_done(end, facts, {name: held.fileno() for name, held in sockets.items()})


def _look_around(request: PodRequest) -> list[str]:
    """Check the namespace; names of other tables' redirects, all of which come after ours."""
    namespace = open_namespace("net")
    initial = owned_by_initial_user_namespace(namespace)
    os.close(namespace)
    with step("list of interfaces, addresses and routes"), rtnetlink.open_socket() as route:
        links = rtnetlink.links(route)
        present = rtnetlink.addresses(route)
        routes = rtnetlink.routes(route)
    if not request.force:
        checks.require_container(links, initial_user_namespace=initial)
    checks.require_free_addresses(present, routes)
    with step("list of other tables"), nftables.open_socket() as ask:
        chains = nftables.chains(ask, nftables.NFPROTO_ANY)
    checks.require_first_redirect(chains)
    return [
        *(f"{chain.table}/{chain.name}" for chain in checks.other_redirects(chains)),
        *_legacy_redirects(),
    ]


def _legacy_redirects() -> list[str]:
    """The nat tables of the old iptables, which nftables does not list. They hook at -100."""
    found = []
    for path in LEGACY_TABLES:
        try:
            with open(path, encoding="utf-8") as names:
                if LEGACY_NAT in names.read().split():
                    found.append(f"{os.path.basename(path).removesuffix('_names')}/{LEGACY_NAT}")
        except FileNotFoundError:
            continue  # the kernel never loaded the module
    return found


def _route_pools(*, ipv6: bool) -> None:
    with rtnetlink.open_socket() as route:
        for pool, source in addresses.POOLS if ipv6 else addresses.POOLS[:1]:
            rtnetlink.add_address(route, source)
            rtnetlink.add_local_route(route, pool, source.ip)


def _ports(table: Table, name: str) -> str:
    found = {ports.name: ports.ports for ports in table.sets}
    return " ".join(str(port) for port in sorted(found.get(name, ()))[:REPORTED_PORTS])
