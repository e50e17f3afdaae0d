"""The shell around one Conversation: does what it commands, tells it what happened."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from policy.decide import decide_connection, decide_request
from policy.decision import Admission as Granted
from policy.decision import Decision
from policy.index import Index
from policy.intent import ConnectionIntent, RequestIntent
from supervisor.egress import codes
from supervisor.egress.admit import connection_intent
from supervisor.egress.authority import Authority
from supervisor.egress.caller import Callers
from supervisor.egress.dial import Connected, Failure
from supervisor.egress.http1 import Conversation
from supervisor.egress.http1_commands import (
    AbortClient,
    Allowed,
    CloseClient,
    Command,
    Connect,
    Decide,
    Denied,
    DropUpstream,
    OpenTunnel,
    Phase,
    Record,
    Switch,
    ToClient,
    ToUpstream,
)
from supervisor.egress.link import Link
from supervisor.egress.origin import Origin
from supervisor.egress.service import RequestEnded, Service
from supervisor.egress.tunnels import start_tunnel
from supervisor.errors import Code
from supervisor.kernel.sock_diag import End as SocketEnd

if TYPE_CHECKING:
    from supervisor.egress.naming import Target

# Between two requests on a kept connection; browsers close theirs after 60 to 300 s.
KEEP_ALIVE_S = 120.0
# From a head's first byte to its last: not extended by trickling (slowloris).
HEAD_S = 15.0
# Without a byte in either direction while a request is served: long polls last minutes.
EXCHANGE_S = 300.0
LINGER_S = 5.0
# What may wait to be sent to one side before the other is not read any more.
MAX_BACKLOG = 256 * 1024


class _Judged(NamedTuple):
    """Connections to ``authority`` under each of the target's names, judged by ``policy``."""

    authority: Authority
    policy: Index
    target: "Target | None"
    connections: tuple[tuple[ConnectionIntent, Decision], ...]

    @property
    def is_lasting(self) -> bool:
        """Not for a synthetic address: in an hour it may stand for another name."""
        by_name = self.authority.literal is None
        return self.target is not None and (by_name or self.target.addresses is not None)


class HttpSession:
    """One client's plain-HTTP connection.

    ``bound`` is its destination if it was captured or came through CONNECT; None on the proxy's
    port. ``callers`` are known there; otherwise they are looked for with the first request, and
    hold for the connection.
    """

    def __init__(
        self,
        service: Service,
        client: Link,
        *,
        ends: tuple[SocketEnd, SocketEnd],
        bound: Authority | None,
        callers: Callers | None,
    ) -> None:
        self._service = service
        self._client = client
        self._upstream: Link | None = None
        self._ends = ends
        self._callers = callers
        self._talk = Conversation(bound=bound, new_id=service.new_id)
        self._asked: Decide | None = None
        self._granted: tuple[Target, Granted] | None = None
        self._decision: Decision | None = None
        self._judged: _Judged | None = None
        self._state = (Phase.HEAD, True)
        self._since = self._active = service.poller.now
        self._todo: deque[Command] = deque()
        self._is_running = False
        client.owner = self
        service.sessions.add(self)

    def adopt(self, upstream: Link, authority: Authority) -> None:
        """Use a connection that admission made."""
        self._upstream = upstream
        upstream.owner = self
        self._talk.adopt_upstream(authority)

    def start(self, early: bytes = b"") -> None:
        """Begin, with what the client sent already."""
        if early:
            self._run(self._talk.client_data(early))
        if self._client.has_ended:
            self._run(self._talk.client_closed())
        self._client.pull()

    # --- commands

    def _run(self, commands: Iterable[Command]) -> None:
        """Obey in order; what a command causes at once comes after those already due."""
        self._todo.extend(commands)
        if self._is_running:
            return
        self._is_running = True
        while self._todo:
            self._obey(self._todo.popleft())
        self._is_running = False
        now = self._active = self._service.poller.now
        state = (self._talk.phase, self._talk.resting)
        if state != self._state:
            self._state, self._since = state, now

    def _obey(self, command: Command) -> None:  # noqa: C901, PLR0912 - one line for each command
        match command:
            case ToUpstream(data):
                if self._upstream is not None:
                    self._upstream.send(data)
            case ToClient(data):
                self._client.send(data)
            case Decide():
                self._asked = command
                if self._callers is None:
                    self._service.finder.find(*self._ends, self._client.sock, self._caller_found)
                else:
                    self._run(self._talk.decided(self._decide(command)))
            case Record():
                self._service.report(
                    RequestEnded(self._ends[0], self._callers, command, self._decision)
                )
                self._decision = None
            case Connect():
                self._connect()
            case DropUpstream():
                self._drop_upstream()
            case CloseClient():
                self._client.finish()
            case AbortClient():
                self._client.abort()
            case OpenTunnel():
                self._open_tunnel(command)
            case Switch(to_upstream=up, to_client=down):
                self._switch(up, down)

    def _caller_found(self, callers: Callers) -> None:
        self._callers = callers
        if self._client.sock is not None and self._asked is not None:
            self._run(self._talk.decided(self._decide(self._asked)))

    def _decide(self, asked: Decide) -> Allowed | Denied:
        """Ask policy about one request, under each of the names that its target has."""
        judged = self._judged
        if (
            judged is None
            or judged.authority is not asked.authority
            or judged.policy is not self._service.index
        ):
            judged = self._judge_connection(asked.authority)
            self._judged = judged if judged.is_lasting else None
        if judged.target is None:
            return Denied(code=codes.NAME_UNKNOWN, cause=f"{asked.authority} stands for no name")
        path, separator, query = asked.path.partition("?")
        denial = None
        for connection, made in judged.connections:
            request = RequestIntent(connection, asked.method, path, query)
            verdict = self._decide_one(asked, request, made)
            if isinstance(verdict, Denied):
                denial = denial or verdict
                continue
            granted, forwarded = verdict
            self._granted = (judged.target, granted)
            return Allowed(path=forwarded + separator + query)
        return denial or Denied(code=codes.POLICY_DENIED, cause="no name to judge by")

    def _judge_connection(self, authority: Authority) -> _Judged:
        """What policy says about the connection itself, under each of the target's names.

        The same for every request to the same destination, as long as the policy is the same: the
        callers hold for the connection.
        """
        index, callers = self._service.index, self._callers
        target = self._service.names.of_authority(authority)
        if target is None or callers is None:
            return _Judged(authority, index, None, ())
        intents = [connection_intent(host, target, callers) for host in target.hosts]
        connections = tuple((intent, decide_connection(index, intent)) for intent in intents)
        return _Judged(authority, index, target, connections)

    def _decide_one(
        self, asked: Decide, request: RequestIntent, made: Decision
    ) -> Denied | tuple[Granted, str]:
        decision = decide_request(self._service.index, request) if made.is_forwarded else made
        self._decision = decision
        if not decision.is_forwarded or made.admission is None:
            rule = None if decision.rule is None else decision.rule.path
            code = Code(*decision.code)
            cause = decision.detail or code.meaning
            return Denied(code=code, cause=cause, rule=rule)
        if asked.upgrade and made.admission.judges_plain_requests:
            cause = "the endpoint's requests are judged one by one"
            rule = None if decision.rule is None else decision.rule.path
            return Denied(code=codes.HTTP_UPGRADE, cause=cause, rule=rule)
        return made.admission, request.path if decision.path is None else decision.path

    def _connect(self) -> None:
        if self._granted is None:
            raise RuntimeError("a request that was not allowed goes nowhere")
        target, granted = self._granted
        self._service.reacher.reach(target, granted.addresses, self._reached)

    def _reached(self, result: Connected | Failure) -> None:
        if self._client.sock is None or self._talk.phase is not Phase.CONNECTING:
            if isinstance(result, Connected):
                self._service.poller.forget(result.sock.fileno())
                result.sock.close()
        elif isinstance(result, Failure):
            self._run(self._talk.connect_failed(result.code, result.cause, result.status))
        else:
            self._upstream = Link(
                self._service.poller, result.sock, self, is_watched=True, may_read=result.may_read
            )
            self._run(self._talk.connected())
            self._pull_both()

    def _open_tunnel(self, command: OpenTunnel) -> None:
        self._drop_upstream()
        self._service.sessions.discard(self)
        self._service.open_tunnel(command, self._client, self._ends)

    def _switch(self, to_upstream: bytes, to_client: bytes) -> None:
        asked = self._asked
        if not (asked and self._upstream and self._granted and self._callers):
            raise RuntimeError("only a served request can switch protocols")
        self._service.sessions.discard(self)
        start_tunnel(
            self._service,
            (self._client, self._upstream),
            target=self._granted[0],
            callers=self._callers,
            origin=Origin(asked.request_id, *self._ends[0]),
            early=(to_upstream, to_client),
        )

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def _pull_both(self) -> None:
        if self._upstream is not None:
            self._upstream.pull()
        self._client.pull()

    # --- LinkOwner

    def wants(self, link: Link) -> bool:
        """See LinkOwner."""
        if link is self._client:
            room = self._upstream is None or self._upstream.backlog < MAX_BACKLOG
            return room and self._talk.wants_client
        return link is self._upstream and self._client.backlog < MAX_BACKLOG

    def received(self, link: Link, data: bytes) -> None:
        """See LinkOwner."""
        talk = self._talk
        self._run(talk.client_data(data) if link is self._client else talk.upstream_data(data))
        if link is not self._client and self._talk.phase is Phase.HEAD:
            self._client.pull()

    def ended(self, link: Link) -> None:
        """See LinkOwner."""
        talk = self._talk
        self._run(talk.client_closed() if link is self._client else talk.upstream_closed())

    def broke(self, link: Link) -> None:
        """See LinkOwner."""
        if link is self._client:
            self._drop_upstream()
        elif link is self._upstream:
            self._upstream = None
            self._run(self._talk.upstream_reset())

    def drained(self, link: Link) -> None:
        """See LinkOwner."""
        del link
        self._pull_both()

    def stirred(self, link: Link) -> None:
        """See LinkOwner."""

    # --- Session

    def is_over(self, now: float) -> bool:
        """See Session."""
        if self._client.sock is None:
            self._drop_upstream()
            return True
        phase = self._talk.phase
        if phase is Phase.CLOSED:
            if now - self._since >= LINGER_S:
                self._client.abort()
            return self._client.sock is None
        late = False
        if phase is Phase.HEAD:
            late = now - self._since >= (KEEP_ALIVE_S if self._talk.resting else HEAD_S)
        elif phase is Phase.EXCHANGE:
            late = now - self._active >= EXCHANGE_S
        if late:
            self._run(self._talk.expired())
        return False

    def policy_changed(self) -> None:
        """See Session. The next request is judged anew anyhow; this one ends if it may no more."""
        if self._talk.phase in (Phase.CONNECTING, Phase.EXCHANGE) and self._asked is not None:
            verdict = self._decide(self._asked)
            if isinstance(verdict, Denied):
                self._drop_upstream()
                self._client.abort()

    def close(self) -> None:
        """See Session."""
        self._drop_upstream()
        self._client.abort()
