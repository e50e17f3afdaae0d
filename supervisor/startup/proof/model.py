"""What a probe is, and where it stands. Pure data."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from supervisor.monitor.spec import Limit

# The controls of the containment report that probes belong to.
Control = Literal[
    "network", "files", "system calls", "privileges", "processes", "limits", "trust-store"
]


class Sight(NamedTuple):
    """A packet that the fence must have logged: protocol number, destination, port."""

    protocol: int
    destination: IPv4Address | IPv6Address
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where the probes are made: what they may rely on, decided before the fork."""

    uid: int
    workdir: str
    monitor: int  # its pid, as the workload numbers it; the init where it is not visible
    own_process_ids: bool
    foreign_ids: int  # inode of the container's PID namespace
    own_shm: bool
    foreign_shm: int  # st_dev of the container's own /dev/shm
    ipv6: bool
    routed: frozenset[int]  # IP versions with a way to documentation addresses
    ruled: bool  # the fence has rules, so that what it refuses is logged
    capture: int | None  # egress' port, where TCP is led to it
    nested_sandbox: bool
    debugger: bool
    guarded: bool  # the filter keeps the workload from our process ids
    limits: tuple[Limit, ...]
    landlock_abi: int
    control_address: str  # where the supervisor answers 'report'
    covered: tuple[str, ...]  # paths that the policy gives the workload in any way
    writable: tuple[str, ...]  # those that it may change
    trust_store: str  # the file; "" if there is none
    outside: str  # a directory that all may write, and the policy does not name; "" if none


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attempt. It must fail with one of ``answers``; with no answers, it must succeed."""

    name: str
    control: Control
    attempt: Callable[[], object]
    answers: frozenset[int] = frozenset()
    # The attempt counts only if the fence logged this, unless it failed with ``unsent``: then no
    # packet was made.
    sight: Sight | None = None
    unsent: frozenset[int] = frozenset()


class Surprise(NamedTuple):
    """A probe that did not go as it must."""

    probe: str
    what: str
