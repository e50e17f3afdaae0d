"""The ``namespace`` form: a network namespace whose only interface is ``lo``. Pure.

There is no wire. Every address is routed to ``lo`` itself, so that a connection attempt reaches
the rules (is counted, logged, refused at once, or captured) instead of ending in ENETUNREACH.
Accepting is by address alone: only loopback and the namespace's own addresses.
"""

from supervisor.fence import addresses
from supervisor.fence.names import TABLE
from supervisor.fence.request import Served
from supervisor.fence.rules import (
    FROM_LOOPBACK,
    NO_FORWARDING,
    REFUSE_IN,
    REFUSE_OUT,
    direct_dials,
    judges,
    redirects,
    source_ports,
)
from supervisor.kernel.ruleset import Chain, Hook, Network, Rule, Table, To, Verdict

OWN_NETWORKS: tuple[Network, ...] = (
    addresses.LOOPBACK_V4,
    addresses.LOOPBACK_V6,
    addresses.SOURCE_V4.network,
    addresses.SOURCE_V6.network,
)


def ruleset(served: Served | None) -> Table:
    """The whole table: closed (``served`` is None), or with TCP and DNS led to egress."""
    closed = (_output(served), _input(served), NO_FORWARDING)
    chains = closed if served is None else (_redirects(served), *closed)
    return Table(name=TABLE, chains=chains)


def _redirects(served: Served) -> Chain:
    own = tuple(
        Rule(comment=f"{network} stays", matches=(To(network),), ending=Verdict.RETURN)
        for network in OWN_NETWORKS
    )
    return redirects(served, first=(), stays=own)


def _output(served: Served | None) -> Chain:
    own = tuple(
        Rule(comment=f"to {network}", matches=(To(network),), ending=Verdict.ACCEPT)
        for network in OWN_NETWORKS
    )
    direct = () if served is None else direct_dials(served)
    return judges(Hook.OUTPUT, *direct, *own, *REFUSE_OUT)


def _input(served: Served | None) -> Chain:
    told = () if served is None else source_ports(served)
    return judges(Hook.INPUT, *told, FROM_LOOPBACK, *REFUSE_IN)
