"""Why the fence blocked a packet, and what to do instead."""

from supervisor.errors import Code

OTHER_RESOLVER = Code(
    "blocked.other-resolver",
    "A program asked a name server over a way that the fence does not carry.",
    "Use the system's resolver (/etc/resolv.conf): names that the policy allows are answered "
    "whichever server is asked over port 53. DNS over TLS, QUIC or multicast is not carried.",
)
QUIC = Code(
    "blocked.quic",
    "A program tried QUIC (HTTP/3), which is UDP; nothing but TCP leaves the sandbox.",
    "Nothing to do where the program falls back to TCP, as browsers and curl do; else switch "
    "HTTP/3 off in it.",
)
UDP = Code(
    "blocked.udp",
    "A program sent UDP; nothing but TCP leaves the sandbox.",
    "Use the service's TCP form, allowed by an endpoint with 'protocol: tcp'. The time is the "
    "container's own: NTP is not needed.",
)
INTERFACE = Code(
    "blocked.interface",
    "A program tied its socket to a network interface, so that its packets cannot be led to egress.",
    "Connect without choosing an interface (SO_BINDTODEVICE, 'curl --interface eth0'). Such a TCP "
    "connection cannot be told that it was refused and waits for its own time-out.",
)
TCP = Code(
    "blocked.tcp",
    "A TCP packet did not go through egress: a connection between networks that the fence keeps "
    "apart, or a packet that belongs to no connection.",
    "Name the destination in the policy and connect in the ordinary way; inbound connections and "
    "connections to other containers' own ports are not carried.",
)
ICMP = Code(
    "blocked.icmp",
    "A program sent ICMP, such as ping; nothing but TCP leaves the sandbox.",
    "Test reachability with the protocol that is meant, for example 'curl -v'.",
)
RAW = Code(
    "blocked.protocol",
    "A program sent a protocol that the fence never carries (SCTP, UDP-Lite, DCCP, a tunnel, raw).",
    "Use TCP, allowed by an endpoint of the policy.",
)
