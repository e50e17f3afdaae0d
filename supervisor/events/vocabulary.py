"""What can happen in a sandbox: one immutable class for each kind of event.

Whoever sees something happen builds one of these and hands it to its stream
(supervisor.events.stream); how it is numbered, limited and written is decided there. Text fields
may hold anything that the workload or the network chose: they are made safe when they become a
record, never here. Sizes are bytes, durations seconds. To be built by keyword; tuples, because twenty
dataclasses cost the start 9 ms more.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import NamedTuple

from supervisor.errors import Code, Refusal


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


class Actor(NamedTuple):
    """One process that asks: its executable and its parents' executables, nearest first.

    Never its command line, which may hold secrets.
    """

    pid: int | None = None
    binary: str | None = None
    ancestors: tuple[str, ...] = ()


class Endpoint(NamedTuple):
    """One end of a connection: a name where there is one, an address where it is known."""

    host: str | None = None
    ip: str | None = None
    port: int | None = None


class Rule(NamedTuple):
    """The entry of the policy that decided, and its place in the file."""

    entry: str
    at: str = ""


class Why(NamedTuple):
    """A reason: stable code, the facts of this case, what helps."""

    code: str
    cause: str = ""
    remedy: str = ""

    @classmethod
    def of(cls, code: Code, cause: str = "") -> "Why":
        """A code of ours, with the facts of this case where it has any of its own."""
        return cls(code=code.name, cause=cause or code.meaning, remedy=code.remedy)

    @classmethod
    def refused(cls, refusal: Refusal) -> "Why":
        """What a Refusal says."""
        return cls(code=refusal.code.name, cause=refusal.cause, remedy=refusal.remedy)


class ConnectionOpened(NamedTuple):
    """Policy allowed a connection and upstream is connected."""

    actors: tuple[Actor, ...]
    destination: Endpoint
    why: Why
    source: Endpoint | None = None
    rule: Rule | None = None
    request_id: str | None = None


class ConnectionClosed(NamedTuple):
    """A relayed connection is over; ``how`` is the relay's word for its end."""

    actors: tuple[Actor, ...]
    destination: Endpoint
    how: str
    bytes_up: int
    bytes_down: int
    seconds: float
    source: Endpoint | None = None
    rule: Rule | None = None
    request_id: str | None = None


class ConnectionRefused(NamedTuple):
    """A connection did not happen; ``destination`` is None where the address stands for nothing."""

    actors: tuple[Actor, ...]
    destination: Endpoint | None
    why: Why
    source: Endpoint | None = None
    rule: Rule | None = None
    request_id: str | None = None


class ConnectionShed(NamedTuple):
    """A connection was refused before anything was read, because a bound was reached."""

    limit: str
    value: int


class HttpRequest(NamedTuple):
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
    source: Endpoint | None = None
    request_id: str | None = None


class DnsRefused(NamedTuple):
    """A name was not resolved. ``kind`` is the question's type, such as ``A``."""

    name: str
    kind: str
    why: Why


class AttemptBlocked(NamedTuple):
    """The fence refused a packet that did not go through egress (NFLOG).

    ``protocol`` is the IP protocol number; ``uid`` is None where the packet had no socket.
    """

    uid: int | None
    protocol: int
    destination: Endpoint
    why: Why
    gid: int | None = None


class PolicyLoaded(NamedTuple):
    """A generation of the policy is in force; the one that the sandbox started with is 0."""

    generation: int


class PolicyRejected(NamedTuple):
    """A new policy was bad; ``generation``, the last good one, stays in force."""

    generation: int
    why: Why


class PolicyNeedsRestart(NamedTuple):
    """Sections that hold from start to end are other ones in the new policy: not in force."""

    sections: tuple[str, ...]


class TunnelsClosed(NamedTuple):
    """Connections whose verdict changed with the policy were ended."""

    generation: int
    times: int


class UpstreamChosen(NamedTuple):
    """Egress reaches the world in another way than the container's own: never a secret."""

    resolvers: tuple[str, ...] = ()
    proxy: str | None = None
    asked_for: str | None = None  # what the proxy is asked for: names, or checked addresses
    has_credentials: bool = False


class HelperReady(NamedTuple):
    """A helper serves for the first time."""

    helper: str
    pid: int


class HelperRestarted(NamedTuple):
    """A helper serves again, on the same sockets; ``times`` is how often it was started again."""

    helper: str
    pid: int
    times: int


class HelperDied(NamedTuple):
    """A helper ended; ``status`` as os.waitstatus_to_exitcode says it, negative for a signal."""

    helper: str
    pid: int
    status: int
    restart_s: float


class HelperFault(NamedTuple):
    """A helper hangs, or says what none of ours says; mostly it is ended for it."""

    helper: str
    pid: int | None
    why: Why


class HelperGaveUp(NamedTuple):
    """A helper ended too often and is not started again; the workload is ended."""

    helper: str
    status: int
    why: Why


class StartStep(NamedTuple):
    """A step of the start begins; told at the log level ``debug`` only."""

    step: str
    what: str


class StartRefused(NamedTuple):
    """The workload was not started; ``status`` is our own exit status."""

    status: int
    why: Why


class SandboxStarted(NamedTuple):
    """The workload runs, confined; ``report`` is the containment report, JSON values only."""

    pid: int
    user: str
    uid: int
    gid: int
    report: Mapping[str, object] | None = None


class SandboxEnded(NamedTuple):
    """The workload is over; ``why`` where the supervisor ended it."""

    pid: int
    status: int
    why: Why | None = None


class FenceInstalled(NamedTuple):
    """``net-init`` closed the pod's network; what ``sidecar`` finds there."""

    rules: int
    ipv6: bool
    table_owned: bool


class SidecarStarted(NamedTuple):
    """The sidecar serves the pod; ``report`` is what holds there, JSON values only."""

    pid: int
    is_degraded: bool
    report: Mapping[str, object] | None = None


class SidecarEnded(NamedTuple):
    """The sidecar is over; ``why`` where it was not the agent's own end."""

    pid: int
    status: int
    why: Why | None = None


class PodMessage(NamedTuple):
    """What passes between the two halves of a pod; ``name`` is one of ours, as in ``agent.attached``.

    ``pid`` and ``uid`` are the other half's, where they are known.
    """

    name: str
    pid: int | None = None
    uid: int | None = None
    why: Why | None = None


class Fault(NamedTuple):
    """A process of ours met an error that it did not expect.

    ``kind`` is Python's name for it, ``trace`` says where, the innermost place last.
    """

    process: str
    kind: str
    why: Why
    trace: tuple[str, ...] = ()


class Drift(NamedTuple):
    """Something that confines the workload is not what it was any more."""

    control: str
    why: Why


class Finding(NamedTuple):
    """Something that an operator should look at."""

    title: str
    severity: Severity
    why: Why


class DenialsSummed(NamedTuple):
    """The same was denied again: ``times`` times since it was last told, ``total`` times in all.

    ``first`` and ``last`` are seconds since the epoch.
    """

    host: str
    port: int | None
    binary: str | None
    times: int
    total: int
    first: float
    last: float
    why: Why


class RecordsDropped(NamedTuple):
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
    | PolicyNeedsRestart
    | TunnelsClosed
    | UpstreamChosen
    | HelperReady
    | HelperRestarted
    | HelperDied
    | HelperFault
    | HelperGaveUp
    | StartStep
    | StartRefused
    | SandboxStarted
    | SandboxEnded
    | FenceInstalled
    | SidecarStarted
    | SidecarEnded
    | PodMessage
    | Fault
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
