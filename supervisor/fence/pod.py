"""The ``pod`` form: rules for a network namespace that has a wire, shared by a pod. Pure.

Everything is dropped both ways but egress' own connections. The workload's TCP and DNS are
redirected to egress; loopback stays open but for ports that others had bound.

Never accepted by connection state alone: after egress closed a socket, the workload could take
the same source port and inherit the "established" state. So egress' packets are known by the
creator of their socket, and mark their connection. A closed socket's last packets have no creator
any more; those are let through only as TCP, of a marked connection, and not to open a new one.

Datagrams have no beginning: tracking takes a query for the next one of whoever used that source
port before, and rewrites it likewise. So those of egress are tracked in a zone of their own. Not
its TCP: tracking sees a SYN, and the last packets of a closed socket, which have no creator, would
not be found there.

A redirect asks for ``lo``, but a socket that is tied to an interface keeps to that one: its packet,
now for 127.0.0.1 or ::1, would leave by the wire. So what really leaves is judged once more, behind
the redirect. Link-local IPv6 ties its sockets too, and is not redirected at all but refused.
"""

from supervisor.fence import addresses
from supervisor.fence.names import BLOCKED_OUT, BLOCKED_WIRE, TABLE
from supervisor.fence.request import PodRequest, Served
from supervisor.fence.rules import (
    FROM_LOOPBACK,
    NO_FORWARDING,
    REFUSE_IN,
    REFUSE_OUT,
    direct_dials,
    drop,
    judges,
    redirects,
    refuse,
    source_ports,
)
from supervisor.kernel.ruleset import (
    Carries,
    Chain,
    Count,
    Direction,
    FromPort,
    Going,
    Hook,
    Icmpv6,
    InState,
    Leaving,
    Mark,
    Marked,
    Opening,
    Owner,
    PortSet,
    Protocol,
    Redirect,
    Redirected,
    Rule,
    State,
    Table,
    To,
    ToPort,
    ToPortIn,
    ToThisMachine,
    Verdict,
    Zone,
)

# Connections that egress opened. Any number but 0; other programs' marks are on packets.
EGRESS_MARK = 0x5B
# Where its datagrams are tracked. Any number that nobody else takes; meshes take 1 and 2.
EGRESS_ZONE = 0x5B5B

# Before -200, where connections are tracked.
ZONE_PRIORITY = -300

CLOSED_TCP, CLOSED_UDP = "closed_tcp", "closed_udp"
OPEN_TCP, OPEN_UDP = "open_tcp", "open_udp"

POOLS = (addresses.POOL_V4, addresses.POOL_V6)
LOCALHOSTS = (addresses.LOCALHOST_V4, addresses.LOCALHOST_V6)
TO_LOOPBACK = (Leaving("lo"), ToThisMachine(), Redirected(yes=False))


def ruleset(
    request: PodRequest,
    taken_tcp: frozenset[int] = frozenset(),
    taken_udp: frozenset[int] = frozenset(),
) -> Table:
    """The whole table. ``taken_*`` are the ports that others have bound in the pod."""
    return Table(
        name=TABLE,
        sets=port_sets(request, taken_tcp, taken_udp),
        chains=(
            _zones(request),
            _redirects(request),
            _output(request),
            _leaving(),
            _input(request.served),
            NO_FORWARDING,
        ),
    )


def port_sets(
    request: PodRequest, taken_tcp: frozenset[int], taken_udp: frozenset[int]
) -> tuple[PortSet, ...]:
    """The named port sets: what is closed on loopback, or, with an allow-list, what is open."""
    loopback = request.loopback
    if loopback.allowed is not None:
        wanted = loopback.allowed - loopback.denied
        return (
            PortSet(name=OPEN_TCP, ports=wanted | {request.served.proxy}),
            PortSet(name=OPEN_UDP, ports=wanted),
        )
    return (
        PortSet(name=CLOSED_TCP, ports=loopback.denied | taken_tcp),
        PortSet(name=CLOSED_UDP, ports=loopback.denied | taken_udp),
    )


def _zones(request: PodRequest) -> Chain:
    egress = Rule(
        comment="datagrams of egress apart",
        matches=(Owner(request.egress_uid), Carries(Protocol.UDP)),
        statements=(Zone(EGRESS_ZONE),),
    )
    return Chain(
        name="zones",
        kind="filter",
        hook=Hook.OUTPUT,
        priority=ZONE_PRIORITY,
        default=Verdict.ACCEPT,
        rules=(egress,),
    )


def _redirects(request: PodRequest) -> Chain:
    egress = Rule(comment="egress", matches=(Owner(request.egress_uid),), ending=Verdict.RETURN)
    tied = Rule(
        comment="link-local is refused",
        matches=(To(addresses.LINK_LOCAL_V6),),
        ending=Verdict.RETURN,
    )
    # Synthetic addresses are local addresses too, so they come before "local stays".
    pools = tuple(
        Rule(
            comment=f"tcp to {pool} to egress",
            matches=(To(pool), Carries(Protocol.TCP)),
            ending=Redirect(request.served.capture),
        )
        for pool in POOLS
    )
    local = Rule(comment="local stays", matches=(ToThisMachine(),), ending=Verdict.RETURN)
    return redirects(request.served, first=(egress, tied), stays=(*pools, local))


def _output(request: PodRequest) -> Chain:
    synthetic = (rule for pool in POOLS for rule in refuse(f"{BLOCKED_OUT} {pool}", To(pool)))
    return judges(
        Hook.OUTPUT,
        *drop(f"{BLOCKED_OUT} invalid", InState((State.INVALID,))),
        *_redirected(request.served),
        Rule(
            comment="egress",
            matches=(Owner(request.egress_uid),),
            statements=(Mark(EGRESS_MARK), Count()),
            ending=Verdict.ACCEPT,
        ),
        Rule(
            comment="tail of a closed egress connection",
            matches=(Marked(EGRESS_MARK), InState((State.ESTABLISHED,)), Opening(yes=False)),
            statements=(Count(),),
            ending=Verdict.ACCEPT,
        ),
        *_discovery_out(),
        *direct_dials(request.served),
        *synthetic,
        *_loopback(request),
        *REFUSE_OUT,
    )


def _redirected(served: Served) -> tuple[Rule, ...]:
    """Redirected packets, only to our own ports on loopback, and what our ports answer."""
    ports = (
        (Protocol.TCP, served.capture),
        (Protocol.TCP, served.dns),
        (Protocol.UDP, served.dns),
    )
    to_us = tuple(
        Rule(
            comment=f"redirected {protocol.name.lower()} to {localhost.network_address} {port}",
            matches=(
                Redirected(),
                Going(Direction.ORIGINAL),
                To(localhost),
                ToPort(protocol, port),
            ),
            ending=Verdict.ACCEPT,
        )
        for localhost in LOCALHOSTS
        for protocol, port in ports
    )
    from_us = tuple(
        Rule(
            comment=f"answers of {protocol.name.lower()} {port}",
            matches=(Redirected(), Going(Direction.REPLY), FromPort(protocol, port)),
            ending=Verdict.ACCEPT,
        )
        for protocol, port in ports
    )
    # Where nobody serves (a sidecar that died), the kernel says so about a datagram, and a resolver
    # need not wait. Such an answer is never a program's own: that takes a raw socket.
    about_us = tuple(
        Rule(
            comment=f"nobody listens, {protocol.name.lower()}",
            matches=(
                Leaving("lo"),
                Redirected(),
                Going(Direction.REPLY),
                InState((State.RELATED,)),
                Carries(protocol),
            ),
            ending=Verdict.ACCEPT,
        )
        for protocol in (Protocol.ICMP, Protocol.ICMPV6)
    )
    return (*to_us, *from_us, *about_us)


def _discovery_out() -> tuple[Rule, ...]:
    own_link = (
        addresses.ROUTER_SOLICITATION,
        addresses.NEIGHBOUR_SOLICITATION,
        addresses.NEIGHBOUR_ADVERTISEMENT,
    )
    groups = (addresses.LISTENER_REPORT, addresses.LISTENER_DONE, addresses.LISTENER_REPORT_V2)
    return _discovery(own_link, groups)


def _discovery(own_link: tuple[int, ...], groups: tuple[int, ...]) -> tuple[Rule, ...]:
    # Group reports have hop limit 1; the rest is only genuine with 255, which no router forwards.
    wanted = [(kind, True) for kind in own_link] + [(kind, False) for kind in groups]
    return tuple(
        Rule(
            comment=f"icmpv6 type {kind}",
            matches=(Icmpv6(kind, one_hop),),
            ending=Verdict.ACCEPT,
        )
        for kind, one_hop in wanted
    )


def _loopback(request: PodRequest) -> tuple[Rule, ...]:
    # The pod's other containers among themselves; a packet without a socket has no owner and
    # does not match.
    others = Rule(
        comment="loopback of others",
        matches=(*TO_LOOPBACK, Owner(request.workload_uid, other=True)),
        ending=Verdict.ACCEPT,
    )
    if request.loopback.allowed is None:
        return (others, *_all_but_closed())
    return (others, *_only_open())


def _all_but_closed() -> tuple[Rule, ...]:
    closed = tuple(
        rule
        for protocol, ports in ((Protocol.TCP, CLOSED_TCP), (Protocol.UDP, CLOSED_UDP))
        for rule in refuse(
            f"loopback {ports}", *TO_LOOPBACK, ToPortIn(protocol, ports), protocol=protocol
        )
    )
    return (*closed, Rule(comment="loopback", matches=TO_LOOPBACK, ending=Verdict.ACCEPT))


def _only_open() -> tuple[Rule, ...]:
    opened = tuple(
        Rule(
            comment=f"loopback {ports}",
            matches=(*TO_LOOPBACK, ToPortIn(protocol, ports)),
            ending=Verdict.ACCEPT,
        )
        for protocol, ports in ((Protocol.TCP, OPEN_TCP), (Protocol.UDP, OPEN_UDP))
    )
    # By state, but never by state alone: it cannot leave this namespace.
    answers = Rule(
        comment="loopback answers",
        matches=(
            *TO_LOOPBACK,
            Going(Direction.REPLY),
            InState((State.ESTABLISHED, State.RELATED)),
        ),
        ending=Verdict.ACCEPT,
    )
    return (*opened, answers)


def _leaving() -> Chain:
    """By a wire: egress' connections and discovery. Here nothing can be answered, only dropped."""
    return judges(
        Hook.POSTROUTING,
        Rule(comment="stays here", matches=(Leaving("lo"),), ending=Verdict.ACCEPT),
        Rule(comment="egress", matches=(Marked(EGRESS_MARK),), ending=Verdict.ACCEPT),
        *_discovery_out(),
        *drop(BLOCKED_WIRE),
    )


def _input(served: Served) -> Chain:
    own_link = (
        addresses.ROUTER_ADVERTISEMENT,
        addresses.NEIGHBOUR_SOLICITATION,
        addresses.NEIGHBOUR_ADVERTISEMENT,
    )
    return judges(
        Hook.INPUT,
        *source_ports(served),
        FROM_LOOPBACK,
        *_discovery(own_link, (addresses.LISTENER_QUERY,)),
        # Answers, and ICMP errors about them (path MTU).
        Rule(
            comment="to egress",
            matches=(Marked(EGRESS_MARK), InState((State.ESTABLISHED, State.RELATED))),
            statements=(Count(),),
            ending=Verdict.ACCEPT,
        ),
        *REFUSE_IN,
    )
