"""Inside the set-up child: take over a pod's fence that was installed before us, by net-init.

The order matters: own the table, listen for changes, and only then read back, so that whatever
somebody changes is either seen in what is read or heard of afterwards.
"""

from socket import socket

from supervisor.errors import Refusal
from supervisor.fence import codes, pod
from supervisor.fence.compare import require_equal
from supervisor.fence.construction import listeners, step, watchers
from supervisor.fence.names import TABLE
from supervisor.fence.request import PodRequest, Served
from supervisor.fence.setup import report_done, yes_or_no
from supervisor.fence.surroundings import CAP_NET_ADMIN, effective_capabilities, has_ipv6
from supervisor.kernel import nftables
from supervisor.kernel.netlink import NetlinkSocket
from supervisor.kernel.ruleset import Held


def adopt(end: socket, request: PodRequest) -> None:
    """Adopt, compare and report; see ``setup.adopt_pod_fence``. Raises Refusal."""
    if CAP_NET_ADMIN not in effective_capabilities():
        raise Refusal(codes.NO_NET_ADMIN, "this process has no CAP_NET_ADMIN")
    owner = nftables.open_socket()
    _held(owner)  # adopting would make a table that is not there
    with step("owning the nftables table"):
        owned = nftables.adopt(owner, TABLE)
    sockets = watchers()
    held = _held(owner)
    ports = dict(held.sets)
    closed_tcp, closed_udp = ports.get(pod.CLOSED_TCP, ()), ports.get(pod.CLOSED_UDP, ())
    table = pod.ruleset(request, frozenset(closed_tcp), frozenset(closed_udp))
    flags = nftables.OWNED if owned else nftables.UNOWNED
    require_equal(held, nftables.expected(table, flags))
    ipv6 = has_ipv6()
    sockets |= listeners(request.served, ipv6=ipv6, after_restart=True)
    facts = [
        yes_or_no(ipv6),
        str(len(held.rules)),
        yes_or_no(owned),
        " ".join(map(str, closed_tcp)),
        " ".join(map(str, closed_udp)),
        "",
    ]
    sockets["nftables"] = owner.socket
    report_done(end, facts, {name: held_.fileno() for name, held_ in sockets.items()})


def serve(end: socket, served: Served) -> None:
    """Listen and report; see ``setup.serve_pod``. Raises Refusal."""
    ipv6 = has_ipv6()
    sockets = listeners(served, ipv6=ipv6, after_restart=True)
    named = {name: held.fileno() for name, held in sockets.items()}
    report_done(end, [yes_or_no(ipv6)], named)


def _held(owner: NetlinkSocket) -> Held:
    with step("reading the nftables rules back"):
        held = nftables.read_back(owner, TABLE)
    if held is None:
        raise Refusal(codes.NOT_INSTALLED, f"there is no table {TABLE} in this network namespace")
    return held
