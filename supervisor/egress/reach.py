"""Connect to a target: resolve it, judge every address, dial the judged ones and no other."""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy.address import AddressRule, judge_addresses
from policy.host import Address
from supervisor.egress import codes
from supervisor.egress.naming import LookupBudget, Target
from supervisor.egress.poller import Poller
from supervisor.egress.resolver import ResolveError, Resolver, ResolverBusyError
from supervisor.errors import Code

if TYPE_CHECKING:
    import asyncio

# All addresses together: clients wait 10 to 30 s for a connection.
DIAL_TOTAL_S = 15.0
# One that does not answer must not use up the others' time.
DIAL_EACH_S = 5.0
# Of what a name resolves to, so many are tried.
MAX_DIALLED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no connection; ``status`` is for a client that speaks HTTP."""

    code: Code
    cause: str
    status: int = 502


Done = Callable[[socket.socket | Failure], None]


def judge(
    addresses: tuple[Address, ...],
    *,
    rule: AddressRule,
    port: int,
    is_outside: Callable[[Address], bool],
) -> Failure | None:
    """Why the addresses may not be dialled; None if every one of them may (decision 22)."""
    verdict = judge_addresses(addresses, rule=rule, port=port)
    if not verdict.is_allowed:
        return Failure(code=Code(*verdict.code), cause=verdict.cause, status=403)
    for address in addresses:
        if not is_outside(address):
            cause = f"{address} is an address of this network namespace itself"
            return Failure(code=codes.ADDRESS_LOCAL, cause=cause, status=403)
    return None


class Reacher:
    """Makes connections; ``is_exact`` tells whether a rule states a name exactly."""

    def __init__(
        self,
        *,
        poller: Poller,
        resolver: Resolver,
        budget: LookupBudget,
        is_outside: Callable[[Address], bool],
        is_exact: Callable[[str], bool],
        tasks: "asyncio.TaskGroup",
    ) -> None:
        self._poller = poller
        self._resolver = resolver
        self._budget = budget
        self._is_outside = is_outside
        self._is_exact = is_exact
        self._tasks = tasks
        self._dialling: set[_Dial] = set()

    def reach(self, target: Target, rule: AddressRule, done: Done) -> None:
        """Call ``done`` once with a connected socket or a Failure, now or later."""
        if target.addresses is not None:
            self._dial(target, target.addresses, rule, done)
            return
        name = target.host
        known = self._resolver.remembered(name)
        if known is not None:
            self._dial(target, known, rule, done)
        elif not self._is_exact(name) and not self._budget.allows(name):
            done(Failure(code=codes.NAME_BUDGET, cause=f"too many new names: {name}", status=403))
        else:
            self._tasks.create_task(self._resolve(target, rule, done), name=f"resolve {name}")

    async def _resolve(self, target: Target, rule: AddressRule, done: Done) -> None:
        try:
            addresses = await self._resolver.resolve(target.host)
        except ResolverBusyError as error:
            done(Failure(code=codes.OVERLOADED, cause=str(error), status=503))
        except ResolveError as error:
            done(Failure(code=codes.RESOLVE_FAILED, cause=f"{target.host}: {error}"))
        else:
            self._dial(target, addresses, rule, done)

    def _dial(
        self, target: Target, addresses: tuple[Address, ...], rule: AddressRule, done: Done
    ) -> None:
        failure = judge(addresses, rule=rule, port=target.port, is_outside=self._is_outside)
        if failure is not None:
            done(failure)
            return

        def over(dial: _Dial, result: socket.socket | Failure) -> None:
            self._dialling.discard(dial)
            done(result)

        dial = _Dial(self._poller, addresses[:MAX_DIALLED], target.port, over)
        self._dialling.add(dial)
        dial.next()

    def sweep(self) -> None:
        """Give up addresses that do not answer. To be called about once a second."""
        for dial in tuple(self._dialling):
            dial.sweep()

    def close(self) -> None:
        """Drop what is being dialled."""
        for dial in tuple(self._dialling):
            dial.fail("egress stops")


class _Dial:
    """The judged addresses one after the other, until one takes the connection."""

    def __init__(
        self,
        poller: Poller,
        addresses: tuple[Address, ...],
        port: int,
        over: "Callable[[_Dial, socket.socket | Failure], None]",
    ) -> None:
        self._poller = poller
        self._left = list(reversed(addresses))
        self._port = port
        self._over = over
        self._sock: socket.socket | None = None
        self._address: Address | None = None
        self._causes: list[str] = []
        self._until = poller.now + DIAL_TOTAL_S
        self._each_until = poller.now + DIAL_EACH_S

    def next(self) -> None:
        """Dial the next address; after the last one, report why none worked."""
        while self._left:
            self._address = self._left.pop()
            self._each_until = self._poller.now + DIAL_EACH_S
            try:
                if self._start(self._address):
                    return
            except OSError as error:  # no descriptors, no route, no such family here
                self._missed(error.errno or 0)
        self._report(
            Failure(code=codes.UPSTREAM_UNREACHABLE, cause="; ".join(self._causes) or "no address")
        )

    def _start(self, address: Address) -> bool:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self._sock = sock = socket.socket(
            family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        # Small writes of both sides pass at once, and a peer that vanished is noticed in hours.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        number = sock.connect_ex((str(address), self._port))
        if number not in (0, errno.EINPROGRESS):
            self._drop()
            self._missed(number)
            return False
        self._poller.add(sock.fileno(), self._ready)
        return True

    def _ready(self, _events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == 0:
            try:
                sock.getpeername()
            except OSError:  # an edge that was not ours: still connecting
                return
            self._sock = None
            self._report(sock)
            return
        self._poller.remove(sock.fileno())
        self._drop()
        self._missed(number)
        self.next()

    def sweep(self) -> None:
        """Move on where time is over."""
        if self._poller.now >= self._until:
            self.fail("no answer in time")
        elif self._poller.now >= self._each_until and self._sock is not None:
            self._poller.remove(self._sock.fileno())
            self._drop()
            self._missed(errno.ETIMEDOUT)
            self.next()

    def fail(self, cause: str) -> None:
        """End without a connection."""
        if self._sock is not None:
            self._poller.remove(self._sock.fileno())
            self._drop()
        causes = "; ".join([*self._causes, cause])
        self._report(Failure(code=codes.UPSTREAM_UNREACHABLE, cause=causes, status=504))

    def _missed(self, number: int) -> None:
        self._causes.append(f"{self._address}: {os.strerror(number)}")

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _report(self, result: socket.socket | Failure) -> None:
        over, self._over = self._over, _nobody
        over(self, result)


def _nobody(_dial: _Dial, result: socket.socket | Failure) -> None:
    """After the report there is nobody left to tell."""
    if isinstance(result, socket.socket):
        result.close()
