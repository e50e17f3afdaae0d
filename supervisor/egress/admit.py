"""One connection from its arrival to its tunnel: who, where to, may it, does TLS agree.

Sans-io: events in, commands out; the owner finds the caller, resolves, dials and moves bytes.

    CALLER     FindCaller went out
    REACH      policy allowed it; Reach went out (resolve, judge every address, dial)
    GATE       both sides are connected; the client's first bytes decide how it goes on
    REFUSING   refused; what the client speaks decides in which protocol it is told so
    OVER       the last command went out

Nothing is resolved before policy allowed it. Waiting for the client's first bytes cannot deadlock:
if upstream speaks first, it is not TLS, and the tunnel opens. Once the client has begun a TLS
hello, only the hello decides.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from policy.decision import Admission as Granted
from policy.decision import Decision
from policy.intent import ConnectionIntent
from supervisor.egress import codes
from supervisor.egress.authority import HTTP_PORT
from supervisor.egress.caller import Callers
from supervisor.egress.denials import Denial, denial_response
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin
from supervisor.egress.tls_hello import Hello, HelloProblem, HelloReader, NoHello
from supervisor.errors import Code

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# RFC 8446 section 6: a fatal alert in a record of its own.
ALERT_ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
ALERT_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
# Seconds in each stage; browsers hold connections that they opened in advance for minutes.
GATE_S = 300.0
HELLO_S = 10.0
# A client that is refused and says nothing, or only what HTTP may begin with, gets a reset after this:
# at most ports the server may speak first, and the client would wait for that.
REFUSING_S = 2.0
# At these the client does, and can be told; before that it may read a large store of certificates.
CLIENT_FIRST_PORTS = frozenset({HTTP_PORT, 443})
# Before the gate opens nothing of the client's is needed; this much waits in memory.
MAX_EARLY = 64 * 1024

_HTTP_START = re.compile(rb"([A-Z]{1,16}) ")
_MAYBE_HTTP = re.compile(rb"[A-Z]{1,16}\Z")


class Stage(Enum):
    """See the module's text."""

    CALLER = "caller"
    REACH = "reach"
    GATE = "gate"
    REFUSING = "refusing"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class FindCaller:
    """Which programs hold the connection? ``caller_found`` answers."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Connect to the target under the decision's rule; ``reached`` or ``unreachable`` answers."""

    target: Target
    granted: Granted


@dataclass(frozen=True, slots=True)
class Say:
    """Send bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Relay:
    """Join both sides; ``early`` goes to upstream first."""

    early: bytes


@dataclass(frozen=True, slots=True)
class ServeHttp:
    """Judge each request; ``early`` are the client's first bytes, ``host`` the name it is for."""

    host: str
    early: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the client's side once everything for it is sent, and upstream's."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the client's side, close upstream's."""


class Opened(NamedTuple):
    """For the event stream: the connection was allowed and dialled."""

    origin: Origin
    target: Target
    callers: Callers
    decision: Decision


class Refused(NamedTuple):
    """For the event stream: the connection was refused, why, and by which rule."""

    origin: Origin
    target: Target | None
    callers: Callers | None
    decision: Decision | None
    code: Code
    cause: str


Command = FindCaller | Reach | Say | Relay | ServeHttp | Close | Reset | Opened | Refused

Decide = Callable[[ConnectionIntent], Decision]


class Admission:
    """See the module's text.

    ``target`` is None for a synthetic address that stands for nothing. ``is_connect`` tells a
    connection that asked by CONNECT (and is answered in HTTP) from a captured one; ``decide`` asks
    the policy that is current when it is called.
    """

    def __init__(
        self,
        *,
        target: Target | None,
        is_connect: bool,
        origin: Origin,
        decide: Decide,
        early: bytes = b"",
    ) -> None:
        self.stage = Stage.CALLER
        self.target = target
        self.callers: Callers | None = None
        self.decision: Decision | None = None
        self.origin = origin
        self._is_connect = is_connect
        self._decide = decide
        self._early = early
        self._client_done = False
        self._hello = HelloReader()
        self._denial: Denial | None = None
        self._out: list[Command] = []

    @property
    def patience_s(self) -> float | None:
        """Seconds that the current stage may take; None where the owner's own limits hold."""
        match self.stage:
            case Stage.GATE:
                return HELLO_S if self._early else GATE_S
            case Stage.REFUSING:
                target = self.target
                is_first = target is not None and target.port in CLIENT_FIRST_PORTS
                return HELLO_S if is_first else REFUSING_S
            case Stage.CALLER | Stage.REACH | Stage.OVER:
                return None

    @property
    def wants_client(self) -> bool:
        """Whether bytes of the client may be delivered now."""
        return self.stage is not Stage.OVER and len(self._early) < MAX_EARLY

    # --- events

    def start(self) -> list[Command]:
        """The first command."""
        if self.target is None:
            self._refuse(codes.NAME_UNKNOWN, "the address stands for no name of this sandbox")
        else:
            self._out.append(FindCaller())
        return self._flush()

    def caller_found(self, callers: Callers) -> list[Command]:
        """The answer to FindCaller."""
        self.callers = callers
        decision = self._ask()
        if not decision.is_forwarded or decision.admission is None:
            self._refuse_decision(decision)
        else:
            self.stage = Stage.REACH
            self._out.append(Reach(self._known_target(), decision.admission))
        return self._flush()

    def reached(self) -> list[Command]:
        """The answer to Reach: upstream is connected."""
        if self.stage is not Stage.REACH or self.decision is None:
            raise RuntimeError(f"nothing was to be reached in stage {self.stage}")
        # The client is told first: it goes on while the record is made, and no byte of its passes
        # before that, because it is read later.
        if self._is_connect:
            self._out.append(Say(ESTABLISHED))
        self._out.append(
            Opened(
                origin=self.origin,
                target=self._known_target(),
                callers=self._callers(),
                decision=self.decision,
            )
        )
        self.stage = Stage.GATE
        if self._granted().tls == "skip" and not self._granted().judges_plain_requests:
            self._open()
        elif self._early:
            self._judge_first_bytes(self._early)
        if self.stage is Stage.GATE and self._client_done:
            self._judge_silence()
        return self._flush()

    def unreachable(self, code: Code, cause: str, status: int) -> list[Command]:
        """The answer to Reach: there is no connection to be had."""
        self._refuse(code, cause, status)
        return self._flush()

    def client_data(self, data: bytes) -> list[Command]:
        """The client sent bytes."""
        self._early += data
        if self.stage is Stage.GATE:
            self._judge_first_bytes(data)
        elif self.stage is Stage.REFUSING:
            self._tell_refusal()
        return self._flush()

    def client_closed(self) -> list[Command]:
        """The client sends no more; it may still listen, so what it said is worth going on for."""
        self._client_done = True
        if self.stage is Stage.GATE:
            self._judge_silence()
        elif self.stage is Stage.REFUSING:
            self._end(Reset())
        return self._flush()

    def upstream_spoke(self) -> list[Command]:
        """Upstream sent bytes, or ended, before the gate opened."""
        if self.stage is Stage.GATE and not self._early and not self._is_http:
            self._open()
        return self._flush()

    def expired(self) -> list[Command]:
        """The current stage's patience is over."""
        if self.stage is Stage.GATE and self._early:
            self._refuse(codes.TOO_SLOW, "the TLS hello was not complete in time", 408)
        else:
            self._end(Reset())
        return self._flush()

    def policy_changed(self) -> list[Command]:
        """There is a new policy: end what it would not allow, also while it is being reached."""
        if self.stage in (Stage.REACH, Stage.GATE) and not self._ask().is_forwarded:
            self._refuse(codes.POLICY_CHANGED, "the policy no longer allows the connection")
        return self._flush()

    # --- the decision

    def _ask(self) -> Decision:
        """Policy's answer for the first of the target's names that it allows, else for the first."""
        target = self._known_target()
        callers = self._callers()
        decisions = [
            self._decide(connection_intent(host, target, callers)) for host in target.hosts
        ]
        chosen = next((one for one in decisions if one.is_forwarded), decisions[0])
        self.decision = chosen
        return chosen

    @property
    def _is_http(self) -> bool:
        """Whether what is not TLS has to be HTTP."""
        granted = self._granted()
        return granted.judges_plain_requests or (
            self._known_target().port == HTTP_PORT and granted.tls != "skip"
        )

    # --- the gate

    def _judge_first_bytes(self, data: bytes) -> None:
        answer = self._hello.feed(data)
        if answer is None:
            return
        if isinstance(answer, NoHello) and answer.problem is HelloProblem.NOT_TLS:
            if self._is_http:
                self._end(ServeHttp(self._known_target().host, self._early))
            else:
                self._open()
        elif self._granted().judges_hidden_requests:
            cause = (
                "the client speaks TLS, which hides the requests that the endpoint's rules judge"
            )
            self._refuse(codes.INSPECTION_UNAVAILABLE, cause)
        elif isinstance(answer, NoHello):
            self._refuse(codes.TLS_HELLO_INVALID, answer.problem.value)
        else:
            self._judge_hello(answer)

    def _judge_silence(self) -> None:
        """The client ended before the gate opened: all that it said, or half of a hello."""
        if self._early or self._granted().judges_plain_requests:
            self._end(Reset())
        else:
            self._open()

    def _judge_hello(self, hello: Hello) -> None:
        target = self._known_target()
        names = [host for host in target.hosts if not _is_address(host)]
        if hello.ech and self._granted().ech == "refuse":
            self._refuse(codes.TLS_ECH, "the hello carries an ECH extension")
        elif hello.server_name is None and names:
            self._refuse(codes.TLS_NAME_MISSING, f"the hello names no server, dialled {names[0]}")
        elif hello.server_name is not None and hello.server_name not in names:
            self._refuse(
                codes.TLS_NAME_MISMATCH, f"the hello names {hello.server_name}, not {target.host}"
            )
        else:
            self._open()

    def _open(self) -> None:
        self._end(Relay(self._early))

    # --- refusing

    def _refuse_decision(self, decision: Decision) -> None:
        code = Code(decision.code.name, decision.code.meaning, decision.code.remedy)
        self._refuse(code, decision.detail or decision.code.meaning)

    def _refuse(self, code: Code, cause: str, status: int = 403) -> None:
        rule = (
            None if self.decision is None or self.decision.rule is None else self.decision.rule.path
        )
        self._out.append(
            Refused(
                origin=self.origin,
                target=self.target,
                callers=self.callers,
                decision=self.decision,
                code=code,
                cause=cause,
            )
        )
        self._denial = Denial(
            code=code, cause=cause, request_id=self.origin.request_id, status=status, rule=rule
        )
        if self._is_connect and self.stage in (Stage.CALLER, Stage.REACH):
            self._say_http("CONNECT")
            return
        self.stage = Stage.REFUSING
        if self._early:
            self._tell_refusal()

    def _tell_refusal(self) -> None:
        """In the protocol that the client's first bytes begin."""
        http = _HTTP_START.match(self._early)
        if http is not None:
            self._say_http(http[1].decode("ascii"))
        elif self._early[0] == 0x16:
            alert = ALERT_ACCESS_DENIED
            if self._denial is not None and self._denial.code is codes.TLS_NAME_MISMATCH:
                alert = ALERT_UNRECOGNIZED_NAME
            self._out.append(Say(alert))
            self._end(Close())
        elif not _MAYBE_HTTP.match(self._early):
            self._end(Reset())

    def _say_http(self, method: str) -> None:
        if self._denial is not None:
            self._out.append(Say(denial_response(self._denial, method=method, keep_alive=False)))
        self._end(Close())

    def _end(self, last: Relay | ServeHttp | Close | Reset) -> None:
        self.stage = Stage.OVER
        self._out.append(last)

    # --- what must be there in a stage

    def _known_target(self) -> Target:
        if self.target is None:
            raise RuntimeError("an admission without a target goes nowhere")
        return self.target

    def _callers(self) -> Callers:
        if self.callers is None:
            raise RuntimeError("the caller is not known yet")
        return self.callers

    def _granted(self) -> Granted:
        if self.decision is None or self.decision.admission is None:
            raise RuntimeError("the connection is not allowed")
        return self.decision.admission

    def _flush(self) -> list[Command]:
        out, self._out = self._out, []
        return out


def connection_intent(host: str, target: Target, callers: Callers) -> ConnectionIntent:
    """The question to policy: may all who hold the connection reach the target under ``host``?"""
    first, *others = callers.callers
    return ConnectionIntent(
        host=host,
        port=target.port,
        binary=first.binary,
        ancestors=first.ancestors,
        digests=first.digests,
        problem=first.problem,
        others=tuple(others),
    )


def _is_address(host: str) -> bool:
    """Whether a canonical host is an address: only those have a colon or end in a digit label."""
    return ":" in host or host.rpartition(".")[2].isdigit()
