"""The addresses and ports that the fence takes for itself, in one place.

Synthetic addresses stand for names (egress' DNS hands them out). The IPv4 pool is the benchmarking
range of RFC 2544, which nobody routes; the IPv6 pool is a unique local prefix (RFC 4193).
"""

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from policy.address import SYNTHETIC_V4, SYNTHETIC_V6
from supervisor.kernel.ruleset import Network

POOL_V4, POOL_V6 = SYNTHETIC_V4, SYNTHETIC_V6

# What a packet of the workload has as its source where there is no interface but lo. IPv4: a
# documentation address (RFC 5737); IPv6: beside the pool, so that both have the same label in
# RFC 6724 and programs prefer what works.
SOURCE_V4 = IPv4Interface("192.0.2.1/32")
SOURCE_V6 = IPv6Interface("fdc6:5e1f:9d07:1::1/128")
SOURCES = (SOURCE_V4, SOURCE_V6)
POOLS: tuple[tuple[Network, IPv4Interface | IPv6Interface], ...] = (
    (POOL_V4, SOURCE_V4),
    (POOL_V6, SOURCE_V6),
)

LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
LOOPBACK_V6 = IPv6Network("::1/128")
LOCALHOST_V4 = IPv4Network("127.0.0.1/32")
LOCALHOST_V6 = IPv6Network("::1/128")

# Every such address belongs to one interface, and so does whoever connects to one.
LINK_LOCAL_V6 = IPv6Network("fe80::/10")

DNS_SERVICE = 53

# Neighbour and router discovery (RFC 4861), multicast listener discovery (RFC 2710, RFC 3810):
# without them IPv6 dies within minutes. ICMPv6 types.
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
LISTENER_QUERY, LISTENER_REPORT, LISTENER_DONE, LISTENER_REPORT_V2 = 130, 131, 132, 143
