"""The ``namespace`` form: a network namespace whose only interface is ``lo``. Pure.

There is no wire. Every address is routed to ``lo`` itself, so that a connection attempt reaches
the rules (is counted, logged, refused at once, or captured) instead of ending in ENETUNREACH.
Accepting is by address alone: only loopback and the namespace's own addresses.
"""

from supervisor.fence import addresses
from supervisor.fence.names import TABLE
from supervisor.fence.request import Served
from supervisor.fence.rules import (
    FILTER_PRIORITY,
    NAT_PRIORITY,
    NO_FORWARDING,
    REFUSE_IN,
    REFUSE_OUT,
    direct_dials,
)
from supervisor.kernel.ruleset import (
    Arriving,
    Carries,
    Chain,
    Hook,
    Network,
    Protocol,
    Redirect,
    Rule,
    Table,
    To,
    ToPort,
    Verdict,
)

OWN_NETWORKS: tuple[Network, ...] = (
    addresses.LOOPBACK_V4,
    addresses.LOOPBACK_V6,
    addresses.SOURCE_V4.network,
    addresses.SOURCE_V6.network,
)


def ruleset(served: Served | None) -> Table:
    """The whole table: closed (``served`` is None), or with TCP and DNS led to egress."""
    closed = (_output(served), _input(), NO_FORWARDING)
    chains = closed if served is None else (_redirects(served), *closed)
    return Table(name=TABLE, chains=chains)


def _redirects(served: Served) -> Chain:
    names = tuple(
        Rule(
            comment=f"{protocol.name.lower()} dns to egress",
            matches=(ToPort(protocol, addresses.DNS_SERVICE),),
            ending=Redirect(served.dns),
        )
        for protocol in (Protocol.UDP, Protocol.TCP)
    )
    own = tuple(
        Rule(comment=f"{network} stays", matches=(To(network),), ending=Verdict.RETURN)
        for network in OWN_NETWORKS
    )
    capture = Rule(
        comment="tcp to egress",
        matches=(Carries(Protocol.TCP),),
        ending=Redirect(served.capture),
    )
    return Chain(
        name="redirect",
        kind="nat",
        hook=Hook.OUTPUT,
        priority=NAT_PRIORITY,
        default=Verdict.ACCEPT,
        rules=(*names, *own, capture),
    )


def _output(served: Served | None) -> Chain:
    own = tuple(
        Rule(comment=f"to {network}", matches=(To(network),), ending=Verdict.ACCEPT)
        for network in OWN_NETWORKS
    )
    direct = () if served is None else direct_dials(served)
    return Chain(
        name="output",
        kind="filter",
        hook=Hook.OUTPUT,
        priority=FILTER_PRIORITY,
        default=Verdict.DROP,
        rules=(*direct, *own, *REFUSE_OUT),
    )


def _input() -> Chain:
    loopback = Rule(comment="from lo", matches=(Arriving("lo"),), ending=Verdict.ACCEPT)
    return Chain(
        name="input",
        kind="filter",
        hook=Hook.INPUT,
        priority=FILTER_PRIORITY,
        default=Verdict.DROP,
        rules=(loopback, *REFUSE_IN),
    )
