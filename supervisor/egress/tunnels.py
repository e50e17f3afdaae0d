"""Hand an admitted connection over to the relay, and judge it again when policy changes."""

from typing import NamedTuple

from policy.decide import decide_connection
from supervisor.egress.admit import connection_intent
from supervisor.egress.caller import Callers
from supervisor.egress.link import Link
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin
from supervisor.egress.relay import End, Tunnel
from supervisor.egress.service import Service, TunnelEnded


class TunnelContext(NamedTuple):
    """What live policy and the closing event need to know about a tunnel."""

    target: Target
    callers: Callers


def start_tunnel(
    service: Service,
    links: tuple[Link, Link],
    *,
    target: Target,
    callers: Callers,
    origin: Origin,
    early: tuple[bytes, bytes],
) -> None:
    """Relay between the client's and upstream's link; ``early`` goes to upstream and to the client.

    What the links have not sent yet goes before that.
    """
    client, upstream = links[0].detach(), links[1].detach()
    service.names.hold(target.host)

    def ended(tunnel: Tunnel, how: End) -> None:
        service.names.release(target.host)
        service.report(
            TunnelEnded(
                origin=origin,
                target=target,
                callers=callers,
                how=how,
                bytes_up=tunnel.bytes_up,
                bytes_down=tunnel.bytes_down,
                seconds=service.poller.now - tunnel.started,
            )
        )

    service.relay.start(
        client=client.sock,
        upstream=upstream.sock,
        early=(upstream.unsent + early[0], client.unsent + early[1]),
        may_read=(client.may_read, upstream.may_read),
        context=TunnelContext(target, callers),
        ended=ended,
    )


def end_disallowed_tunnels(service: Service) -> int:
    """End every tunnel that the policy, which has just changed, allows no more; how many."""
    ended = 0
    judged: dict[tuple[tuple[str, ...], int, Callers], bool] = {}  # thousands may be alike
    for tunnel in service.relay.tunnels:
        context = tunnel.context
        if not isinstance(context, TunnelContext):
            continue
        question = (context.target.hosts, context.target.port, context.callers)
        if question not in judged:
            judged[question] = _still_allowed(service, context)
        if not judged[question]:
            service.relay.end(tunnel, End.POLICY)
            ended += 1
    return ended


def _still_allowed(service: Service, context: TunnelContext) -> bool:
    target = context.target
    return any(
        decide_connection(
            service.index, connection_intent(host, target, context.callers)
        ).is_forwarded
        for host in target.hosts
    )
