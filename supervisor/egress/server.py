"""Egress as a whole: the handed-down sockets, the parts, one loop, one tick a second.

The hot descriptors live in the Poller's epoll set; asyncio drives that set and keeps what is rare
(resolving, hashing in a thread, the tick). Everything that confined code will need is imported by
``preload`` before egress confines itself.
"""

import asyncio
import gc
import mmap
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any

from policy.host import Address, import_tables
from policy.index import Index
from supervisor.egress.acceptor import Acceptor, Take
from supervisor.egress.caller import AnyCaller, CallerFinder
from supervisor.egress.dns_server import MAX_STREAMS, DnsDatagrams, DnsStream, open_stream
from supervisor.egress.hosts import Hosts
from supervisor.egress.http1_commands import OpenTunnel
from supervisor.egress.http_session import HttpSession
from supervisor.egress.link import Link
from supervisor.egress.naming import LookupBudget, Names, ReportingNames
from supervisor.egress.poller import Poller
from supervisor.egress.reach import Reacher
from supervisor.egress.relay import Relay
from supervisor.egress.resolv_conf import ResolvConf
from supervisor.egress.resolver import PORT, Resolver
from supervisor.egress.service import NameRefused, Report, Service, Session
from supervisor.egress.sockets import Socket
from supervisor.egress.synthetic import TABLE_SIZE, SyntheticTable
from supervisor.egress.tunnel_session import TunnelSession
from supervisor.egress.tunnels import end_disallowed_tunnels
from supervisor.egress.upstream_proxy import UpstreamProxy
from supervisor.kernel.original_dst import original_dst
from supervisor.kernel.route_get import is_dialled_outside, open_route
from supervisor.kernel.sock_diag import End, open_sock_diag
from supervisor.kernel.tcp_saved_syn import saved_urgent_pointer

# Tunnels and sessions together: two descriptors and about 5 KiB each.
MAX_CONNECTIONS = 10_000
TICK_S = 1.0
# Hashing is bound by the disk and by one core; a second thread lets small files pass a large one.
HASHERS = 2
REMEMBERED_ADDRESSES = 1024
# New objects between two collections: about 300 connections, 2 MiB at most.
GC_THRESHOLD = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """Numbers of what the monitor made and handed down.

    ``capture`` are listeners that redirected connections reach, ``proxy`` those that clients name
    themselves; ``diag`` is a sock_diag socket of the workload's namespace; ``names`` a memfd of
    TABLE_SIZE bytes that outlives this process; ``monitor`` the SOCK_SEQPACKET of owner_messages.
    """

    capture: tuple[int, ...]
    proxy: tuple[int, ...]
    dns_udp: tuple[int, ...]
    dns_tcp: tuple[int, ...]
    diag: int
    names: int
    monitor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What egress is told at its start; the files were read by others."""

    index: Index
    hosts: Hosts
    resolv_conf: ResolvConf
    has_ipv6: bool
    resolver_port: int = PORT
    proxy: UpstreamProxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Live numbers for ``status`` and metrics."""

    tunnels: int
    sessions: int
    names_given: int  # answers of policy DNS with an address, since the start


def preload() -> None:
    """Import what is otherwise imported on first use: a confined process may not read files."""
    import concurrent.futures.thread
    import encodings.idna
    import encodings.punycode
    import sys

    import dns.rdata

    import_tables()
    # This one asks libc for protocol numbers, which libc reads in the image's /etc/protocols.
    sys.modules["dns.rdtypes.IN.WKS"] = None  # type: ignore[assignment]
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
    del concurrent, encodings


class Egress:
    """One running egress; ``report`` gets everything that is worth an event."""

    def __init__(
        self, descriptors: Descriptors, setup: Setup, report: Callable[[Report], None]
    ) -> None:
        self._descriptors = descriptors
        self._setup = setup
        self._report = report
        self._stop = asyncio.Event()
        self._service: Service | None = None
        self._names: ReportingNames | None = None
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """End ``run``."""
        self._stop.set()

    def use_policy(self, index: Index) -> int:
        """Swap the policy; what it does not allow any more ends, everything else does not notice.

        How many tunnels ended.
        """
        service = self._running()
        service.index = index
        ended = end_disallowed_tunnels(service)
        for session in tuple(service.sessions):
            session.policy_changed()
        return ended

    def status(self) -> Status:
        """What lives now."""
        service = self._running()
        given = 0 if self._names is None else self._names.given
        return Status(tunnels=len(service.relay), sessions=len(service.sessions), names_given=given)

    async def run(self) -> None:
        """Serve until ``stop``. Raises what makes it impossible; the monitor starts another."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        poller = Poller()
        # A connection's parts refer to each other, so they end in the collector; looking through
        # everything that was there at the start, every few hundred connections, costs 5 %.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        with ExitStack() as owned, ThreadPoolExecutor(HASHERS, "hash") as hashers:
            owned.callback(poller.close)
            async with asyncio.TaskGroup() as tasks:
                service = self._assemble(poller, loop, hashers, tasks, owned)
                self._service = service
                self._listen(service, owned)
                poller.attach(loop)
                ticking = tasks.create_task(self._tick(service), name="tick")
                await self._stop.wait()
                ticking.cancel()
                poller.detach(loop)
                for session in tuple(service.sessions):
                    session.close()
                service.reacher.close()
                service.relay.close()
        if self._failure is not None:
            raise self._failure

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception in a callback: asyncio would log it and go on, having lost the batch's edges.

        A fault of ours must not leave connections that nobody serves: egress ends, and the monitor
        starts another on the same sockets.
        """
        self._failure = context.get("exception") or RuntimeError(context["message"])
        self._stop.set()

    def _running(self) -> Service:
        if self._service is None:
            raise RuntimeError("egress does not run yet")
        return self._service

    def _assemble(
        self,
        poller: Poller,
        loop: asyncio.AbstractEventLoop,
        hashers: ThreadPoolExecutor,
        tasks: asyncio.TaskGroup,
        owned: ExitStack,
    ) -> Service:
        setup = self._setup
        route = owned.enter_context(closing(open_route()))
        diag = owned.enter_context(closing(open_sock_diag(self._descriptors.diag)))
        monitor = owned.enter_context(socket.socket(fileno=self._descriptors.monitor))
        table = SyntheticTable(mmap.mmap(self._descriptors.names, TABLE_SIZE))
        names = Names(
            hosts=setup.hosts,
            table=table,
            index=lambda: self._running().index,
            has_ipv6=setup.has_ipv6,
        )
        finder = (
            AnyCaller()
            if setup.index.mode == "any"
            else CallerFinder(
                poller=poller,
                channel=monitor,
                diag=diag,
                loop=loop,
                hashers=hashers,
            )
        )
        reacher = Reacher(
            poller=poller,
            resolver=Resolver(setup.resolv_conf, port=setup.resolver_port),
            budget=LookupBudget(),
            is_outside=partial(is_dialled_outside, route),
            is_exact=lambda name: name in self._running().index.exact,
            tasks=tasks,
            proxy=setup.proxy,
            proxy_addresses=_known_addresses(setup),
        )
        return Service(
            poller=poller,
            relay=Relay(poller),
            names=names,
            finder=finder,
            reacher=reacher,
            index=setup.index,
            report=self._report,
            open_tunnel=self._open_tunnel,
        )

    def _listen(self, service: Service, owned: ExitStack) -> None:
        def living() -> int:
            return len(service.relay) + len(service.sessions)

        streams: set[DnsStream] = set()
        names = self._names = ReportingNames(
            service.names,
            lambda name, kind, why: self._report(NameRefused(name=name, kind=kind, why=why)),
        )

        def keep(stream: DnsStream) -> None:
            streams.difference_update([one for one in streams if one.is_over(service.poller.now)])
            streams.add(stream)
            service.sessions.add(stream)

        kinds: list[tuple[tuple[int, ...], Take, Callable[[], int], int]] = [
            (self._descriptors.capture, self._captured, living, MAX_CONNECTIONS),
            (self._descriptors.proxy, self._proxied, living, MAX_CONNECTIONS),
            (
                self._descriptors.dns_tcp,
                open_stream(service.poller, names, keep),
                lambda: len(streams),
                MAX_STREAMS,
            ),
        ]
        for number in self._descriptors.dns_udp:
            sock = owned.enter_context(socket.socket(fileno=number))
            DnsDatagrams(service.poller, sock, names)
        for numbers, take, count, limit in kinds:
            for number in numbers:
                acceptor = Acceptor(
                    service.poller,
                    owned.enter_context(socket.socket(fileno=number)),
                    take=take,
                    count=count,
                    limit=limit,
                    report=self._report,
                )
                owned.callback(acceptor.close)

    def _captured(self, sock: Socket, peer: tuple[str, int]) -> None:
        """A connection that nftables redirected to us."""
        service = self._running()
        address, port = original_dst(sock)
        target = service.names.of_address(_plain(address), port)
        client = Link(service.poller, sock, _NOBODY)
        TunnelSession(
            service,
            client,
            ends=(_client_end(sock, peer), (_plain(address), port)),
            target=target,
            is_connect=False,
            request_id=service.new_id(),
        ).start()

    def _proxied(self, sock: Socket, peer: tuple[str, int]) -> None:
        """A connection to the proxy's own port."""
        service = self._running()
        ends = (_client_end(sock, peer), _end(sock.getsockname()))
        client = Link(service.poller, sock, _NOBODY)
        HttpSession(service, client, ends=ends, bound=None, callers=None).start()

    def _open_tunnel(self, command: OpenTunnel, client: Link, ends: tuple[End, End]) -> None:
        service = self._running()
        TunnelSession(
            service,
            client,
            ends=ends,
            target=service.names.of_authority(command.authority),
            is_connect=True,
            request_id=command.request_id,
            early=command.early,
        ).start()

    async def _tick(self, service: Service) -> None:
        """Apply every time limit about once a second."""
        while True:
            await asyncio.sleep(TICK_S)
            service.poller.turn()
            now = service.poller.now
            service.relay.sweep()
            service.finder.sweep()
            service.reacher.sweep()
            over: list[Session] = [one for one in tuple(service.sessions) if one.is_over(now)]
            service.sessions.difference_update(over)


def _known_addresses(setup: Setup) -> tuple[Address, ...] | None:
    """The proxy's, where no name server has to be asked for them."""
    if setup.proxy is None:
        return None
    address, name = setup.proxy.host.address, setup.proxy.host.text
    return setup.hosts.addresses.get(name) if address is None else (address,)


class _Nobody:
    """Owns a link for the moment between its making and its session's."""

    def wants(self, link: Link) -> bool:
        """See LinkOwner."""
        del link
        return False

    def received(self, link: Link, data: bytes) -> None:
        """See LinkOwner."""

    def ended(self, link: Link) -> None:
        """See LinkOwner."""

    def broke(self, link: Link) -> None:
        """See LinkOwner."""

    def drained(self, link: Link) -> None:
        """See LinkOwner."""

    def stirred(self, link: Link) -> None:
        """See LinkOwner."""


_NOBODY = _Nobody()


def _client_end(sock: Socket, peer: tuple[str, int]) -> End:
    """The client's socket by the name that it has itself; the fence tells its port.

    Where it did not, port 0: nobody's, so whose connection it is will not be found.
    """
    return _address(peer[0]), saved_urgent_pointer(sock) or 0


def _end(name: tuple[str, int]) -> End:
    """A socket name as the kernel's tables have it."""
    return _address(name[0]), name[1]


@lru_cache(REMEMBERED_ADDRESSES)
def _address(text: str) -> Address:
    """The kernel's text as an address; it is nearly always the same few."""
    return _plain(ip_address(text))


def _plain(address: Address) -> Address:
    """A mapped address is the IPv4 address that it stands for."""
    return getattr(address, "ipv4_mapped", None) or address
