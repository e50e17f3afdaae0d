"""One client's plain-HTTP connection: every request decided, then re-written upstream.

Sans-io: methods are events and return the commands that they cause, in order. The owner runs the
sockets, the policy and the clock, and obeys ``wants_client`` and ``phase``.

    HEAD       waiting for a request, or reading its head
    DECIDING   Decide went out; ``decided`` comes back
    CONNECTING Connect went out; ``connected`` or ``connect_failed`` comes back
    EXCHANGE   the request and its response are on their way, at the same time
    SWITCHED   CONNECT was read, or upstream switched protocols: the bytes are someone else's now
    CLOSED     nothing more is read; what was to be sent was said

A request is never forwarded as received: its head is written anew from what policy saw. After a
refusal of broken framing nothing that follows on the connection is believed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.egress import codes
from supervisor.egress.authority import Authority
from supervisor.egress.denials import Denial, denial_response
from supervisor.egress.http1_answer import Answer
from supervisor.egress.http1_body import LAST_CHUNK, Body, body_reader, chunk
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
from supervisor.egress.http1_head import (
    HeadError,
    Request,
    head_length,
    request_bytes,
)
from supervisor.egress.http1_target import Aim, read_request
from supervisor.errors import Code

# What may wait in memory while a request is decided and its upstream dialled.
MAX_WAITING = 64 * 1024
VIA = b"Via: 1.1 sandbox-supervisor"
# RFC 9110 section 9.2.2; without a body they can be sent again on a fresh connection.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """The request that is being served; ``fresh`` when its upstream connection is new."""

    request_id: str
    request: Request
    aim: Aim
    upgrade: bool
    body: Body
    answer: Answer
    head: bytes = b""
    fresh: bool = True
    bytes_up: int = 0


class Conversation:
    """See the module's text. ``bound`` is the connection's destination, None on the proxy port."""

    def __init__(self, *, bound: Authority | None, new_id: Callable[[], str]) -> None:
        self.phase = Phase.HEAD
        self._bound = bound
        self._new_id = new_id
        self._from_client = bytearray()
        self._from_upstream = bytearray()
        self._exchange: _Exchange | None = None
        self._upstream: Authority | None = None
        self._client_done = False
        self._out: list[Command] = []

    # --- what the owner asks

    @property
    def wants_client(self) -> bool:
        """Whether bytes of the client may be delivered now."""
        match self.phase:
            case Phase.HEAD | Phase.DECIDING | Phase.CONNECTING:
                return len(self._from_client) < MAX_WAITING
            case Phase.EXCHANGE:
                return self._body_left or len(self._from_client) < MAX_WAITING
            case Phase.SWITCHED | Phase.CLOSED:
                return False

    @property
    def resting(self) -> bool:
        """Between two requests, with nothing of the next one there."""
        return self.phase is Phase.HEAD and not self._from_client

    @property
    def _body_left(self) -> bool:
        return self._exchange is not None and not self._exchange.body.ended

    # --- events

    def client_data(self, data: bytes) -> list[Command]:
        """The client sent bytes."""
        self._from_client += data
        return self._advance()

    def client_closed(self) -> list[Command]:
        """The client sends no more (half-close included)."""
        self._client_done = True
        exchange = self._exchange
        if exchange is None:
            self._close(CloseClient())
        elif not exchange.body.ended:
            # Half a request must not look like a whole one upstream.
            self._close(AbortClient())
        return self._flush()

    def adopt_upstream(self, authority: Authority) -> None:
        """An upstream connection to ``authority`` exists already (admission dialled it)."""
        self._upstream = authority

    def decided(self, verdict: Allowed | Denied) -> list[Command]:
        """The answer to Decide."""
        exchange = self._current(Phase.DECIDING)
        if isinstance(verdict, Denied):
            self._refuse(verdict.code, verdict.cause, verdict.status, rule=verdict.rule)
            return self._advance()
        extra = [VIA]
        if exchange.upgrade:
            extra += [b"Connection: upgrade", b"Upgrade: websocket"]
        exchange.head = request_bytes(
            exchange.request, verdict.path, exchange.aim.authority.for_host_header(), *extra
        )
        if self._upstream == exchange.aim.authority:
            exchange.fresh = False
            return self._begin(exchange)
        self._drop_upstream()
        self._connect(exchange)
        return self._flush()

    def connected(self) -> list[Command]:
        """The answer to Connect: upstream can be written to."""
        exchange = self._current(Phase.CONNECTING)
        self._upstream = exchange.aim.authority
        return self._begin(exchange)

    def connect_failed(self, code: Code, cause: str, status: int = 502) -> list[Command]:
        """The answer to Connect: there is no upstream."""
        self._current(Phase.CONNECTING)
        self._refuse(code, cause, status)
        return self._advance()

    def upstream_data(self, data: bytes) -> list[Command]:
        """Upstream sent bytes."""
        exchange = self._exchange
        if self.phase is not Phase.EXCHANGE or exchange is None:
            # A response that nobody asked for would be taken for the next request's.
            self._drop_upstream()
            return self._flush()
        self._from_upstream += data
        answer = exchange.answer
        try:
            self._say(answer.take(self._from_upstream, request_ended=exchange.body.ended))
        except HeadError as error:
            self._upstream_broke(exchange, error.cause)
        else:
            if answer.status == 101:
                self._switch(exchange)
            elif answer.ended:
                self._finish(exchange)
        return self._advance()

    def upstream_closed(self) -> list[Command]:
        """Upstream ended its connection in order."""
        exchange = self._exchange
        self._drop_upstream()
        if self.phase is not Phase.EXCHANGE or exchange is None:
            return self._flush()
        if self._may_repeat(exchange):
            exchange.fresh = True
            self._connect(exchange)
            return self._flush()
        try:
            self._say(exchange.answer.upstream_ended())
        except HeadError as error:
            self._upstream_broke(exchange, error.cause)
        else:
            self._finish(exchange)
        return self._advance()

    def upstream_reset(self) -> list[Command]:
        """Upstream's connection broke: what came so far is not the whole answer."""
        exchange = self._exchange
        if exchange is not None and not exchange.answer.heard:
            return self.upstream_closed()
        self._drop_upstream()
        if self.phase is Phase.EXCHANGE and exchange is not None:
            self._upstream_broke(exchange, "upstream reset the connection")
        return self._flush()

    def expired(self) -> list[Command]:
        """The owner's time for this phase is over."""
        if self.phase is Phase.HEAD:
            if self._from_client:
                self._refuse(codes.TOO_SLOW, "the request's head was not complete in time", 408)
            else:
                self._close(CloseClient())
        elif self._exchange is not None:
            if not self._exchange.answer.status:
                self._refuse(codes.UPSTREAM_TIMEOUT, "no answer in time", 504)
            else:
                self._close(AbortClient())
        self._drop_upstream()
        return self._flush()

    # --- the request's side

    def _advance(self) -> list[Command]:
        """Go on with what the client has sent already."""
        while self.phase is Phase.HEAD and self._next_head():
            pass
        if self.phase is Phase.EXCHANGE:
            self._forward_body()
        return self._flush()

    def _next_head(self) -> bool:
        """Read one head if it is there; False when nothing more can be done now."""
        buffer = self._from_client
        if not buffer and not self._client_done:
            return False
        if buffer[:2] == b"\r\n":
            del buffer[:2]  # RFC 9112 section 2.2: left over after the previous body
        try:
            length = head_length(buffer)
            if length is None:
                if self._client_done:
                    self._close(CloseClient())
                return False
            head = bytes(buffer[:length])
            del buffer[:length]
            self._take_head(*read_request(head, self._bound))
        except HeadError as error:
            self._refuse(error.code, error.cause, error.status)
        return self.phase is Phase.HEAD

    def _take_head(self, request: Request, target: Aim | Authority) -> None:
        request_id = self._new_id()
        if isinstance(target, Authority):
            self.phase = Phase.SWITCHED
            early = bytes(self._from_client)
            self._out.append(OpenTunnel(request_id=request_id, authority=target, early=early))
            return
        upgrade = (
            b"upgrade" in request.block.nominated
            and request.fields.get(b"upgrade", b"").lower() == b"websocket"
        )
        self._exchange = _Exchange(
            request_id=request_id,
            request=request,
            aim=target,
            upgrade=upgrade,
            body=body_reader(request.framing, lenient=False),
            answer=Answer(request, upgrade=upgrade),
        )
        self.phase = Phase.DECIDING
        self._out.append(Decide(request_id, target.authority, request.method, target.path, upgrade))

    def _connect(self, exchange: _Exchange) -> None:
        self.phase = Phase.CONNECTING
        self._out.append(Connect(authority=exchange.aim.authority))

    def _begin(self, exchange: _Exchange) -> list[Command]:
        self.phase = Phase.EXCHANGE
        self._from_upstream.clear()
        self._out.append(ToUpstream(exchange.head))
        return self._advance()

    def _forward_body(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange.body.ended or not self._from_client:
            return
        try:
            content = exchange.body.take(self._from_client)
        except HeadError as error:
            self._drop_upstream()
            self._refuse(error.code, error.cause, error.status)
            return
        exchange.bytes_up += len(content)
        data = _framed_again(exchange, content)
        if data:
            self._out.append(ToUpstream(data))

    # --- the response's side

    def _finish(self, exchange: _Exchange) -> None:
        """The response is complete: go on with the next request, or end."""
        answer = exchange.answer
        self._record(answer.status, None)
        if not answer.keeps_upstream or self._from_upstream:
            self._drop_upstream()
        self._exchange = None
        self.phase = Phase.HEAD
        if self._client_done or not answer.keeps_client:
            self._close(CloseClient())

    def _switch(self, exchange: _Exchange) -> None:
        self._record(exchange.answer.status, None)
        self.phase = Phase.SWITCHED
        self._out.append(
            Switch(to_upstream=bytes(self._from_client), to_client=bytes(self._from_upstream))
        )

    def _may_repeat(self, exchange: _Exchange) -> bool:
        """An idle connection that upstream closed just as we used it: nothing was done with it."""
        return (
            not exchange.fresh
            and not exchange.answer.heard
            and exchange.request.framing == 0
            and exchange.request.method in _REPEATABLE
        )

    # --- ends

    def _say(self, data: bytes) -> None:
        if data:
            self._out.append(ToClient(data))

    def _upstream_broke(self, exchange: _Exchange, cause: str) -> None:
        self._drop_upstream()
        if exchange.answer.status:
            self._record(exchange.answer.status, codes.UPSTREAM_INVALID)
            self._close(AbortClient())
        else:
            self._refuse(codes.UPSTREAM_INVALID, cause, 502)

    def _refuse(self, code: Code, cause: str, status: int, *, rule: str | None = None) -> None:
        """Answer with a denial; the connection goes on only where its next byte is certain."""
        exchange = self._exchange
        request_id = self._new_id() if exchange is None else exchange.request_id
        keep = (
            exchange is not None
            and self.phase in (Phase.DECIDING, Phase.CONNECTING)
            and exchange.request.framing == 0
            and exchange.request.keep_alive
            and not self._client_done
        )
        denial = Denial(code=code, cause=cause, request_id=request_id, status=status, rule=rule)
        method = "" if exchange is None else exchange.request.method
        self._out.append(ToClient(denial_response(denial, method=method, keep_alive=keep)))
        self._record(status, code, request_id)
        self._exchange = None
        if keep:
            self.phase = Phase.HEAD
        else:
            self._close(CloseClient())

    def _record(self, status: int, code: Code | None, request_id: str = "") -> None:
        exchange = self._exchange
        if exchange is None:
            self._out.append(Record(request_id, None, "", "", status, code, 0, 0))
            return
        self._out.append(
            Record(
                exchange.request_id,
                exchange.aim.authority,
                exchange.request.method,
                exchange.aim.path,
                status,
                code,
                exchange.bytes_up,
                exchange.answer.bytes,
            )
        )

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream = None
            self._out.append(DropUpstream())
        self._from_upstream.clear()

    def _close(self, how: CloseClient | AbortClient) -> None:
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._exchange = None
            self._drop_upstream()
            self._out.append(how)

    def _current(self, phase: Phase) -> _Exchange:
        if self.phase is not phase or self._exchange is None:
            raise RuntimeError(f"the owner's answer came in phase {self.phase}, not {phase}")
        return self._exchange

    def _flush(self) -> list[Command]:
        out, self._out = self._out, []
        return out


def _framed_again(exchange: _Exchange, content: bytes) -> bytes:
    """A piece of the request's body as upstream gets it."""
    if exchange.request.framing != "chunked":
        return content
    return chunk(content) + (LAST_CHUNK if exchange.body.ended else b"")
