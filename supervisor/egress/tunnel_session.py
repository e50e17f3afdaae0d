"""The shell around one Admission: does what it commands, tells it what happened."""

from collections.abc import Iterable

from policy.decide import decide_connection
from supervisor.egress.admit import (
    Admission,
    Close,
    Command,
    FindCaller,
    Opened,
    Reach,
    Refused,
    Relay,
    Reset,
    Say,
    ServeHttp,
    Stage,
)
from supervisor.egress.authority import parse_authority
from supervisor.egress.caller import Callers
from supervisor.egress.dial import Connected, Failure
from supervisor.egress.http_session import HttpSession
from supervisor.egress.link import Link
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin
from supervisor.egress.service import Service
from supervisor.egress.tunnels import start_tunnel
from supervisor.kernel.sock_diag import End as SocketEnd

# After the last word to a refused client, so long it may take to read it.
LINGER_S = 5.0


class TunnelSession:
    """One connection until it is relayed, judged as HTTP, or refused.

    ``ends`` are the client's own end and the one it dialled, as the kernel knows its socket.
    """

    def __init__(
        self,
        service: Service,
        client: Link,
        *,
        ends: tuple[SocketEnd, SocketEnd],
        target: Target | None,
        is_connect: bool,
        request_id: str,
        early: bytes = b"",
    ) -> None:
        self._service = service
        self._client = client
        self._upstream: Link | None = None
        self._ends = ends
        self._admission = Admission(
            target=target,
            is_connect=is_connect,
            origin=Origin(request_id, *ends[0]),
            decide=lambda intent: decide_connection(service.index, intent),
            early=early,
        )
        self._since = service.poller.now
        client.owner = self
        service.sessions.add(self)

    def start(self) -> None:
        """Begin."""
        self._run(self._admission.start())

    # --- commands

    def _run(self, commands: Iterable[Command]) -> None:
        stage = self._admission.stage
        for command in commands:
            self._obey(command)
        if self._admission.stage is not stage:
            self._since = self._service.poller.now

    def _obey(self, command: Command) -> None:
        match command:
            case FindCaller():
                self._service.finder.find(*self._ends, self._client.sock, self._caller_found)
            case Reach(target, granted):
                self._service.reacher.reach(target, granted.addresses, self._reached)
            case Opened() | Refused():
                self._service.report(command)
            case Say(data):
                self._client.send(data)
            case Relay(early):
                self._relay(early)
            case ServeHttp(host, early):
                self._serve_http(host, early)
            case Close():
                self._drop_upstream()
                self._client.finish()
            case Reset():
                self._drop_upstream()
                self._client.abort()

    def _caller_found(self, callers: Callers) -> None:
        if self._client.sock is None:
            return
        self._since = self._service.poller.now
        self._run(self._admission.caller_found(callers))

    def _reached(self, result: Connected | Failure) -> None:
        if self._client.sock is None or self._admission.stage is not Stage.REACH:
            if isinstance(result, Connected):
                self._service.poller.forget(result.sock.fileno())
                result.sock.close()
            return
        self._since = self._service.poller.now
        if isinstance(result, Failure):
            self._run(self._admission.unreachable(result.code, result.cause, result.status))
            return
        self._upstream = upstream = Link(
            self._service.poller, result.sock, self, is_watched=True, may_read=result.may_read
        )
        self._run(self._admission.reached())
        # The edges of what came before the link was there are gone, so ask once.
        if result.may_read and upstream.has_input:
            self._run(self._admission.upstream_spoke())
        self._client.pull()

    def _relay(self, early: bytes) -> None:
        if self._upstream is None or self._admission.target is None:
            raise RuntimeError("nothing to relay to")
        self._service.sessions.discard(self)
        start_tunnel(
            self._service,
            (self._client, self._upstream),
            target=self._admission.target,
            callers=self._admission.callers or Callers(callers=()),
            origin=self._admission.origin,
            early=(early, b""),
        )

    def _serve_http(self, host: str, early: bytes) -> None:
        target = self._admission.target
        bound = None if target is None else parse_authority(_bracketed(host), target.port)
        if target is None or bound is None or self._upstream is None:
            raise RuntimeError("an admitted connection has a target")
        self._service.sessions.discard(self)
        session = HttpSession(
            self._service,
            self._client,
            ends=self._ends,
            bound=bound,
            callers=self._admission.callers,
        )
        session.adopt(self._upstream, bound)
        session.start(early)

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    # --- LinkOwner

    def wants(self, link: Link) -> bool:
        """See LinkOwner."""
        return link is self._client and self._admission.wants_client

    def received(self, link: Link, data: bytes) -> None:
        """See LinkOwner."""
        del link  # only the client is read
        self._run(self._admission.client_data(data))

    def ended(self, link: Link) -> None:
        """See LinkOwner."""
        del link
        self._run(self._admission.client_closed())

    def broke(self, link: Link) -> None:
        """See LinkOwner."""
        if link is self._client:
            self._drop_upstream()
        elif self._upstream is not None:
            self._upstream = None
            self._client.abort()

    def drained(self, link: Link) -> None:
        """See LinkOwner."""

    def stirred(self, link: Link) -> None:
        """See LinkOwner."""
        if link is self._upstream:
            self._run(self._admission.upstream_spoke())

    # --- Session

    def is_over(self, now: float) -> bool:
        """See Session."""
        if self._client.sock is None:
            self._drop_upstream()
            return True
        if self._admission.stage is Stage.OVER:
            if now - self._since >= LINGER_S:
                self._client.abort()
            return self._client.sock is None
        patience = self._admission.patience_s
        if patience is not None and now - self._since >= patience:
            self._run(self._admission.expired())
        return False

    def policy_changed(self) -> None:
        """See Session."""
        if self._client.sock is not None:
            self._run(self._admission.policy_changed())

    def close(self) -> None:
        """See Session."""
        self._drop_upstream()
        self._client.abort()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
