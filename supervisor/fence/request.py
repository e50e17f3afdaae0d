"""What is asked of a fence and what is handed back: plain data, light enough for the monitor."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

# Above the ephemeral range (to 60999), so that no program gets one by chance, and outside
# 15000-15090, which service meshes use.
CAPTURE_PORT = 61001
DNS_PORT = 61053
PROXY_PORT = 61080

Form = Literal["namespace", "loopback-only", "pod"]


class Served(NamedTuple):
    """Ports on loopback where egress serves the workload. Without a Served, nothing is served."""

    capture: int = CAPTURE_PORT
    dns: int = DNS_PORT
    proxy: int = PROXY_PORT


class Loopback(NamedTuple):
    """Which loopback ports of the pod the workload reaches.

    ``allowed`` None: all but ``denied`` and those that others had bound when the fence was built.
    ``allowed`` a set: those alone.
    """

    denied: frozenset[int] = frozenset()
    allowed: frozenset[int] | None = None


class PodRequest(NamedTuple):
    """A fence around the network namespace that we are in.

    ``force`` fences a namespace that looks like a machine's own, not a container's.
    """

    egress_uid: int
    workload_uid: int
    served: Served = Served()
    loopback: Loopback = Loopback()
    force: bool = False


class FenceReport(NamedTuple):
    """What was set up and read back, for the containment report.

    ``loopback-only`` means that the container came with a network namespace that has no other
    interface: there are no rules, and blocked attempts are not seen.
    """

    form: Form
    user_namespace: bool
    ipv6: bool
    rules: int
    table_owned: bool


class FencedNamespace(NamedTuple):
    """A closed network namespace, held by descriptors (all close-on-exec, the caller's to close).

    ``net`` joins it (None: it is the one we are in, form ``pod``); ``user``, where there is one, must be joined first. ``sockets`` by name:
    ``nflog`` (blocked attempts), ``changes`` (nftables notifications), ``nftables`` (owner of the
    table: keep it open), and, when served, ``sock_diag`` and the listeners ``capture4``,
    ``capture6``, ``proxy4``, ``proxy6``, ``dns_tcp4``, ``dns_tcp6``, ``dns_udp4``, ``dns_udp6``
    (those with 6 only where there is IPv6). Without rules (``loopback-only``) there are none.
    """

    net: int | None
    user: int | None
    sockets: Mapping[str, int]
    report: FenceReport

    @property
    def held_elsewhere(self) -> bool:
        """Another container of the pod enforces it; nothing of it is ours to watch."""
        return self.report.form == "pod" and not self.sockets


class PodReport(NamedTuple):
    """What was set up in the pod's namespace and read back.

    ``closed_tcp`` and ``closed_udp`` are the loopback ports that the workload does not reach, the
    lowest 500 of them; empty with an allow-list. ``other_tables`` are nat chains of others that
    come after ours (``table/chain``), at most 20.
    """

    ipv6: bool
    rules: int
    table_owned: bool
    closed_tcp: tuple[int, ...]
    closed_udp: tuple[int, ...]
    other_tables: tuple[str, ...]


class FencedPod(NamedTuple):
    """The fence of the pod form: sockets by name, as in FencedNamespace, and what was done."""

    sockets: Mapping[str, int]
    report: PodReport
