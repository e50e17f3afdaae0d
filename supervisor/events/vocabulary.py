"""What can happen in a sandbox: one frozen class for each kind of event.

Whoever sees something happen builds one of these and hands it to its stream
(supervisor.events.stream); how it is numbered, limited and written is decided there. Text fields
may hold anything that the workload or the network chose: they are made safe when they become a
record, never here. Sizes are bytes, durations seconds. Imports nothing heavy: the monitor loads it.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Lane(IntEnum):
    """Events that share a rate limit and a reserve, so that one kind cannot crowd out another."""

    ALLOWED = 1
    DENIED = 2
    BLOCKED = 3
    STATE = 4


class Severity(IntEnum):
    """OCSF ``severity_id``."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Verdict(Enum):
    """What was decided. ``AUDIT``: let through although its rule would refuse it."""

    ALLOW = "allow"
    AUDIT = "audit"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One process that asks: its executable and its parents' executables, nearest first.

    Never its command line, which may hold secrets.
    """

    pid: int | None = None
    binary: str | None = None
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of a connection: a name where there is one, an address where it is known."""

    host: str | None = None
    ip: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The entry of the policy that decided, and its place in the file."""

    entry: str
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """A reason: stable code, the facts of this case, what helps."""

    code: str
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened:
    """Policy allowed a connection and upstream is connected."""

    actors: tuple[Actor, ...]
    destination: Endpoint
    source: Endpoint | None = None
    why: Why
    rule: Rule | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionClosed:
    """A relayed connection is over; ``how`` is the relay's word for its end."""

    actors: tuple[Actor, ...]
    destination: Endpoint
    source: Endpoint | None = None
    how: str
    bytes_up: int
    bytes_down: int
    seconds: float
    rule: Rule | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRefused:
    """A connection did not happen; ``destination`` is None where the address stands for nothing."""

    actors: tuple[Actor, ...]
    destination: Endpoint | None
    source: Endpoint | None = None
    why: Why
    rule: Rule | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionShed:
    """A connection was refused before anything was read, because a bound was reached."""

    limit: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request was decided and is over. ``path`` may carry a query: it is not recorded."""

    actors: tuple[Actor, ...]
    destination: Endpoint
    method: str
    path: str
    verdict: Verdict
    status: int | None
    why: Why
    rule: Rule | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRefused:
    """A name was not resolved. ``kind`` is the question's type, such as ``A``."""

    name: str
    kind: str
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptBlocked:
    """The fence refused a packet that did not go through egress (NFLOG).

    ``protocol`` is the IP protocol number; ``uid`` is None where the packet had no socket.
    """

    uid: int | None
    gid: int | None = None
    protocol: int
    destination: Endpoint
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoaded:
    """A generation of the policy is in force; ``closed`` connections ended because of it."""

    generation: int
    closed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRejected:
    """A new policy was bad; the last good generation stays in force."""

    generation: int
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelsClosed:
    """Connections whose verdict changed with the policy were ended."""

    generation: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperDied:
    """A helper ended; ``status`` as os.waitstatus_to_exitcode says it, negative for a signal."""

    helper: str
    pid: int
    status: int
    restart_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperRestarted:
    """A helper serves again, on the same sockets."""

    helper: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperGaveUp:
    """A helper ended too often and is not started again; the workload is ended."""

    helper: str
    status: int
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStarted:
    """The workload runs, confined."""

    pid: int
    user: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxEnded:
    """The workload is over; ``why`` where the supervisor ended it."""

    pid: int
    status: int
    why: Why | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Something that confines the workload is not what it was any more."""

    control: str
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that an operator should look at."""

    title: str
    severity: Severity
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class DenialsSummed:
    """The same was denied again: ``count`` times since it was last told, ``total`` times in all.

    ``first`` and ``last`` are seconds since the epoch.
    """

    host: str
    port: int | None
    binary: str | None
    count: int
    total: int
    first: float
    last: float
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsDropped:
    """Numbers ``first`` to ``last`` have gaps: how many records of each lane are missing there."""

    first: int
    last: int
    lanes: tuple[tuple[Lane, int], ...]
    denials_forgotten: int = 0


Event = (
    ConnectionOpened
    | ConnectionClosed
    | ConnectionRefused
    | ConnectionShed
    | HttpRequest
    | DnsRefused
    | AttemptBlocked
    | PolicyLoaded
    | PolicyRejected
    | TunnelsClosed
    | HelperDied
    | HelperRestarted
    | HelperGaveUp
    | SandboxStarted
    | SandboxEnded
    | Drift
    | Finding
    | DenialsSummed
    | RecordsDropped
)


def lane_of(event: Event) -> Lane:
    """Which lane an event uses. Audited requests count as denied: they are what to look at."""
    match event:
        case ConnectionOpened() | ConnectionClosed():
            return Lane.ALLOWED
        case HttpRequest():
            return Lane.ALLOWED if event.verdict is Verdict.ALLOW else Lane.DENIED
        case ConnectionRefused() | ConnectionShed() | DnsRefused() | DenialsSummed():
            return Lane.DENIED
        case AttemptBlocked():
            return Lane.BLOCKED
        case _:
            return Lane.STATE
