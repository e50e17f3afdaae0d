"""What a packet that the fence blocked was about, and the remedy. Pure."""

from supervisor.errors import Code
from supervisor.events import blocked_codes as codes
from supervisor.events.vocabulary import AttemptBlocked, Endpoint, Why

TCP, UDP = 6, 17
ICMPS = frozenset({1, 58})
DNS_PORTS = frozenset({53, 853, 5353, 5355})  # plain, over TLS or QUIC, multicast, LLMNR
QUIC_PORTS = frozenset({80, 443, 8443})


def code_of(protocol: int, port: int | None) -> Code:
    """The reason for a packet of an IP protocol to a port (None where it has none)."""
    if protocol in (TCP, UDP) and port in DNS_PORTS:
        return codes.OTHER_RESOLVER
    if protocol == UDP:
        return codes.QUIC if port in QUIC_PORTS else codes.UDP
    if protocol == TCP:
        return codes.TCP
    return codes.ICMP if protocol in ICMPS else codes.RAW


def attempt(
    *,
    uid: int | None,
    gid: int | None,
    protocol: int,
    destination: str,
    port: int | None,
    tied: bool = False,
) -> AttemptBlocked:
    """The event for one logged packet; its fields as supervisor.kernel.nflog read them.

    ``tied``: it was on its way to egress, and kept to an interface all the same.
    """
    code = codes.INTERFACE if tied else code_of(protocol, port)
    return AttemptBlocked(
        uid=uid,
        gid=gid,
        protocol=protocol,
        destination=Endpoint(ip=destination, port=port),
        why=Why(code=code.name, cause=code.meaning, remedy=code.remedy),
    )
