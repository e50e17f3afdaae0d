"""Connect to a target: resolve it, judge every address, dial the judged ones and no other.

Where there is a corporate proxy, it is the proxy that is dialled, and asked for a judged address.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from policy.address import AddressRule, Trust, judge_addresses
from policy.host import Address
from supervisor.egress import codes
from supervisor.egress.dial import Attempt, Connected, Dial, Failure
from supervisor.egress.naming import LookupBudget, Target
from supervisor.egress.poller import Poller
from supervisor.egress.resolver import ResolveError, Resolver, ResolverBusyError
from supervisor.egress.upstream_proxy import UpstreamProxy, authority, connect_request
from supervisor.errors import Code

if TYPE_CHECKING:
    import asyncio

# Of what a name resolves to, so many are tried.
MAX_DIALLED = 6
# A judgement of the same addresses by the same rule stays the same, but for what the kernel says
# about routes: only an administrator changes those, so it is asked again a second later.
JUDGED_S = 1.0
REMEMBERED = 1024

Done = Callable[[Connected | Failure], None]


class _Judged(NamedTuple):
    """What may be dialled for a host and port, and from what that followed."""

    addresses: tuple[Address, ...]
    rule: AddressRule
    attempts: tuple[Attempt, ...]
    until: float


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
    """Makes connections; ``is_exact`` tells whether a rule states a name exactly.

    ``proxy_addresses`` are the proxy's where they are known without asking a name server.
    """

    def __init__(
        self,
        *,
        poller: Poller,
        resolver: Resolver,
        budget: LookupBudget,
        is_outside: Callable[[Address], bool],
        is_exact: Callable[[str], bool],
        tasks: "asyncio.TaskGroup",
        proxy: UpstreamProxy | None = None,
        proxy_addresses: tuple[Address, ...] | None = None,
    ) -> None:
        self._poller = poller
        self._resolver = resolver
        self._budget = budget
        self._is_outside = is_outside
        self._is_exact = is_exact
        self._tasks = tasks
        self._proxy = proxy
        self._proxy_addresses = proxy_addresses
        self._dialling: set[Dial] = set()
        self._judgements: dict[tuple[str, int], _Judged] = {}

    def reach(self, target: Target, rule: AddressRule, done: Done) -> None:
        """Call ``done`` once, now or later."""
        if target.addresses is not None:
            self._judged(target, target.addresses, rule, done)
            return
        name = target.host
        known = self._resolver.remembered(name)
        by_name = self._proxy is not None and _goes_by_name(self._proxy, target, rule)
        if known is not None and not by_name:
            self._judged(target, known, rule, done)
        elif not self._is_exact(name) and not self._budget.allows(name):
            done(Failure(code=codes.NAME_BUDGET, cause=f"too many new names: {name}", status=403))
        elif self._proxy is not None and by_name:
            self._through(self._proxy, (authority(name, target.port),), done)
        else:
            self._later(
                name,
                codes.RESOLVE_FAILED,
                lambda found: self._judged(target, found, rule, done),
                done,
            )

    def _later(
        self, name: str, failed: Code, then: Callable[[tuple[Address, ...]], None], done: Done
    ) -> None:
        """Resolve ``name``, then go on with its addresses, or end with the code ``failed``."""

        async def resolve() -> None:
            try:
                addresses = await self._resolver.resolve(name)
            except ResolverBusyError as error:
                done(Failure(code=codes.OVERLOADED, cause=str(error), status=503))
            except ResolveError as error:
                done(Failure(code=failed, cause=f"{name}: {error}"))
            else:
                then(addresses)

        self._tasks.create_task(resolve(), name=f"resolve {name}")

    def _judged(
        self, target: Target, addresses: tuple[Address, ...], rule: AddressRule, done: Done
    ) -> None:
        known = self._judgements.get((target.host, target.port))
        if (
            known is not None
            and known.addresses == addresses
            and known.rule == rule
            and self._poller.now < known.until
        ):
            self._dial(known.attempts, done)
            return
        failure = judge(addresses, rule=rule, port=target.port, is_outside=self._is_outside)
        if failure is not None:
            done(failure)
            return
        direct = addresses if self._proxy is None else _direct(self._proxy, target, addresses)
        if self._proxy is not None and not direct:
            wanted = tuple(authority(address, target.port) for address in addresses)
            self._through(self._proxy, wanted, done)
        else:
            attempts = tuple(Attempt(address=one, port=target.port) for one in direct)
            if len(self._judgements) >= REMEMBERED:
                self._judgements.clear()
            until = self._poller.now + JUDGED_S
            self._judgements[target.host, target.port] = _Judged(addresses, rule, attempts, until)
            self._dial(attempts, done)

    def _through(self, proxy: UpstreamProxy, wanted: tuple[str, ...], done: Done) -> None:
        """Ask the proxy for one of ``wanted``, in turn, at each of its own addresses."""

        def dial(addresses: tuple[Address, ...]) -> None:
            attempts = (
                Attempt(
                    address=address,
                    port=proxy.port,
                    wanted=one,
                    request=connect_request(one, proxy.authorization),
                )
                for one in wanted
                for address in addresses
            )
            self._dial(attempts, done)

        known = self._proxy_addresses or self._resolver.remembered(proxy.host.text)
        if known is not None:
            dial(known)
        else:
            self._later(proxy.host.text, codes.UPSTREAM_PROXY_UNREACHABLE, dial, done)

    def _dial(self, attempts: Iterable[Attempt], done: Done) -> None:
        def over(dial: Dial, result: Connected | Failure) -> None:
            self._dialling.discard(dial)
            done(result)

        dial = Dial(self._poller, tuple(attempts)[:MAX_DIALLED], over)
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


def _goes_by_name(proxy: UpstreamProxy, target: Target, rule: AddressRule) -> bool:
    """Whether the proxy is to resolve the name: never where the rule says which addresses."""
    is_listed = rule.trust not in (Trust.PUBLIC, Trust.EXACT_HOST)
    return proxy.by_name and not is_listed and not _is_direct_by_name(proxy, target)


def _is_direct_by_name(proxy: UpstreamProxy, target: Target) -> bool:
    return any(proxy.no_proxy.covers_name(host, target.port) for host in target.hosts)


def _direct(
    proxy: UpstreamProxy, target: Target, addresses: tuple[Address, ...]
) -> tuple[Address, ...]:
    """Which of the addresses are dialled without the proxy; none: go through it."""
    if _is_direct_by_name(proxy, target):
        return addresses
    return tuple(one for one in addresses if proxy.no_proxy.covers_address(one, target.port))
