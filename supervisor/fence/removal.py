"""How a person removes a fence by hand; ``doctor`` prints it. Pure."""

from supervisor.fence import addresses
from supervisor.fence.names import TABLE


def instructions() -> tuple[str, ...]:
    """Commands to run inside the fenced network namespace, with CAP_NET_ADMIN, in order.

    While a supervisor lives it owns the table, and the kernel refuses the first command to all
    others (EPERM): end the supervisor first. A fence of the ``namespace`` form needs none of this:
    it ends with its last process.
    """
    return (
        f"nft delete table inet {TABLE}",
        *(f"ip route delete local {pool} dev lo" for pool, _ in addresses.POOLS),
        *(f"ip address delete {source} dev lo" for _, source in addresses.POOLS),
    )
