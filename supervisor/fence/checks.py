"""What must be true before a pod's namespace is fenced. Pure: facts in, Refusal out."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface

from supervisor.errors import Refusal
from supervisor.fence import addresses, codes
from supervisor.fence.names import TABLE
from supervisor.fence.request import PodRequest, Served
from supervisor.fence.rules import NAT_PRIORITY
from supervisor.kernel.rtnetlink import Link
from supervisor.kernel.ruleset import HeldChain, Hook, Network

# How container engines and CNI plugins connect a namespace. A machine's own has hardware (no
# kind) or a bridge besides.
CONTAINER_KINDS = {"veth", "macvlan", "macvtap", "ipvlan", "ipvtap", "tun"}
# Put into every new namespace, down, by a kernel that has the tunnel modules loaded.
FALLBACK_TUNNELS = {
    "erspan", "gre", "gretap", "ip6gre", "ip6tnl", "ipip", "sit", "vti", "vti6",
}  # fmt: skip

MESH_PORTS = range(15000, 15091)
FIRST_UNPRIVILEGED_PORT = 1024
LAST_PORT = 65535


def require_distinct_users(request: PodRequest) -> None:
    """Egress and workload differ and neither is root. Raises Refusal."""
    if 0 in {request.egress_uid, request.workload_uid}:
        raise Refusal(codes.USERS_COLLIDE, "user id 0 can be neither egress nor the workload")
    if request.egress_uid == request.workload_uid:
        raise Refusal(
            codes.USERS_COLLIDE, f"egress and the workload are both user {request.egress_uid}"
        )


def require_usable_ports(served: Served) -> None:
    """Egress' ports are distinct, unprivileged, and not a mesh's. Raises Refusal."""
    if len(set(served)) != len(served):
        raise Refusal(codes.PORTS_INVALID, f"{', '.join(map(str, served))} are not distinct")
    for port in served:
        if port in MESH_PORTS or not FIRST_UNPRIVILEGED_PORT <= port <= LAST_PORT:
            raise Refusal(codes.PORTS_INVALID, f"port {port} cannot be used")


def require_container(links: Iterable[Link], *, initial_user_namespace: bool) -> None:
    """This namespace is a container's: it belongs to a user namespace of its own, or each of its
    interfaces is of a kind that containers get. Raises Refusal naming those that are not."""
    if not initial_user_namespace:
        return
    strangers = [
        f"{link.name} ({link.kind or 'hardware'})"
        for link in links
        if link.name != "lo"
        and link.kind not in CONTAINER_KINDS
        and not (link.kind in FALLBACK_TUNNELS and not link.up)
    ]
    if strangers:
        raise Refusal(codes.HOST_NAMESPACE, f"it has {', '.join(strangers)}")


def require_free_addresses(
    present: Iterable[IPv4Interface | IPv6Interface], routes: Iterable[Network]
) -> None:
    """Nobody uses an address of ours, but we ourselves from an earlier start. Raises Refusal."""
    pools = (addresses.POOL_V4, addresses.POOL_V6)
    ours = {*pools, *(source.network for source in addresses.SOURCES)}
    for address in present:
        if any(address.ip in pool for pool in pools):
            raise Refusal(codes.ADDRESSES_COLLIDE, f"address {address}")
    for route in routes:
        if route not in ours and any(_inside(route, pool) for pool in pools):
            raise Refusal(codes.ADDRESSES_COLLIDE, f"route {route}")


def require_first_redirect(chains: Iterable[HeldChain]) -> None:
    """No nat chain of another table sees outgoing packets before ours. Raises Refusal."""
    earlier = [
        f"{chain.table} {chain.name} (priority {chain.priority})"
        for chain in other_redirects(chains)
        if chain.priority is not None and chain.priority <= NAT_PRIORITY
    ]
    if earlier:
        raise Refusal(codes.REDIRECT_COLLIDES, ", ".join(earlier))


def other_redirects(chains: Iterable[HeldChain]) -> list[HeldChain]:
    """The nat chains of other tables that see outgoing packets."""
    return [
        chain
        for chain in chains
        if chain.table != TABLE and chain.kind == "nat" and chain.hook == Hook.OUTPUT.value
    ]


def _inside(network: Network, pool: Network) -> bool:
    return network.version == pool.version and network.subnet_of(pool)  # type: ignore[arg-type]
