"""What both forms of the fence say in the same words."""

from supervisor.fence import addresses
from supervisor.fence.names import BLOCKED_IN, BLOCKED_OUT, NFLOG_GROUP
from supervisor.fence.request import Served
from supervisor.kernel.ruleset import (
    Arriving,
    AtMost,
    Carries,
    Chain,
    Count,
    Hook,
    Log,
    Match,
    Opening,
    Protocol,
    Redirect,
    Redirected,
    Reject,
    Rule,
    TellSourcePort,
    ToPort,
    Verdict,
)

# Enough to see every attempt of an honest program; a port scan is counted, not logged in full.
LOGGED_PER_SECOND = 50
LOGGED_BURST = 100

FILTER_PRIORITY = 0
# Before -100, where every other table's destination NAT hooks: a mesh or an engine's DNS
# forwarding must not see the workload's packets first.
NAT_PRIORITY = -110

_LOGGED = AtMost(LOGGED_PER_SECOND, LOGGED_BURST)


def refuse(comment: str, *matches: Match, protocol: Protocol | None = None) -> tuple[Rule, ...]:
    """Log (up to the rate), count, and answer at once: TCP by reset, the rest by ICMP.

    ``protocol`` says which one the matches are about, where they are about one.
    """
    logged = Rule(
        comment=f"log {comment}",
        matches=(*matches, _LOGGED),
        statements=(Log(NFLOG_GROUP, comment),),
    )
    reset = Rule(
        comment=f"{comment} tcp",
        matches=(*matches, Carries(Protocol.TCP)),
        statements=(Count(),),
        ending=Reject.RESET,
    )
    prohibited = Rule(
        comment=comment, matches=matches, statements=(Count(),), ending=Reject.PROHIBITED
    )
    match protocol:
        case None:
            return (logged, reset, prohibited)
        case Protocol.TCP:
            return (logged, reset)
        case _:
            return (logged, prohibited)


def drop(comment: str, *matches: Match) -> tuple[Rule, ...]:
    """Log (up to the rate), count, and say nothing."""
    return (
        Rule(
            comment=f"log {comment}",
            matches=(*matches, _LOGGED),
            statements=(Log(NFLOG_GROUP, comment),),
        ),
        Rule(comment=comment, matches=matches, statements=(Count(),), ending=Verdict.DROP),
    )


# The end of every output chain: whatever nothing accepted.
REFUSE_OUT = refuse(BLOCKED_OUT)

# The end of every input chain. Silent: an answer would tell strangers that we are here.
REFUSE_IN = drop(BLOCKED_IN)


def direct_dials(served: Served) -> tuple[Rule, ...]:
    """Refuse a program that dials the capture or DNS port itself instead of being redirected.

    Such a connection has no original destination to be judged by. The proxy port is for dialling.
    """
    ports = (
        (Protocol.TCP, served.capture),
        (Protocol.TCP, served.dns),
        (Protocol.UDP, served.dns),
    )
    return tuple(
        rule
        for protocol, port in ports
        for rule in refuse(
            f"direct {protocol.name.lower()} {port}",
            ToPort(protocol, port),
            Redirected(yes=False),
            protocol=protocol,
        )
    )


def source_ports(served: Served) -> tuple[Rule, ...]:
    """Tell egress from which port a client came, whatever tracking made of it on the way.

    Redirecting gives all destinations one address and port. Where a client's source port is taken
    there, by its own or another's connection of the last two minutes, tracking gives it a free one,
    under which nobody has a socket, or, soon after, somebody else.
    """
    return tuple(
        Rule(
            comment=f"tell the source port {port}",
            matches=(ToPort(Protocol.TCP, port), Opening()),
            statements=(TellSourcePort(),),
        )
        for port in (served.capture, served.proxy)
    )


def redirects(served: Served, *, first: tuple[Rule, ...], stays: tuple[Rule, ...]) -> Chain:
    """DNS and TCP to egress, but for what ``first`` takes out; ``stays`` is TCP to what is local."""
    names = tuple(
        Rule(
            comment=f"{protocol.name.lower()} dns to egress",
            matches=(ToPort(protocol, addresses.DNS_SERVICE),),
            ending=Redirect(served.dns),
        )
        for protocol in (Protocol.UDP, Protocol.TCP)
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
        rules=(*first, *names, *stays, capture),
    )


def judges(hook: Hook, *rules: Rule) -> Chain:
    """The chain of this hook that drops what none of the rules accepts."""
    return Chain(
        name=hook.name.lower(),
        kind="filter",
        hook=hook,
        priority=FILTER_PRIORITY,
        default=Verdict.DROP,
        rules=rules,
    )


FROM_LOOPBACK = Rule(comment="from lo", matches=(Arriving("lo"),), ending=Verdict.ACCEPT)

# Nothing is ever forwarded, whatever the forwarding sysctl says.
NO_FORWARDING = judges(Hook.FORWARD)
