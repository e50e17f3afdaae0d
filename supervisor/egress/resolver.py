"""Resolve names over sockets of our own: no getaddrinfo, no NSS, no file of the image.

A and AAAA are asked at once, each from a fresh connected socket (a random port and id; the kernel
drops what comes from elsewhere), and again over TCP where the answer did not fit. What may be
believed is supervisor.egress.stub's to say.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from policy.host import Address
from supervisor.egress.dial import OUT_OF_DESCRIPTORS
from supervisor.egress.dns import framed
from supervisor.egress.resolv_conf import ResolvConf
from supervisor.egress.stub import (
    Found,
    Missing,
    Reading,
    RecordType,
    Truncated,
    Unusable,
    question,
    read_response,
)

PORT = 53
# A client gives up after 10 s or so; it should hear why before that.
TOTAL_S = 8.0
# Each is at most two sockets.
MAX_ACTIVE = 64
# Names that are looked up at once, or wait for a place; more are refused, so that a burst of lookups
# cannot grow without end. Any number of connections share the lookup of their name.
MAX_QUEUED = 256
# Forged or late packets that one wait passes over.
MAX_STRAY = 32
MAX_MESSAGE = 65535
CACHED_NAMES = 1024


class ResolveError(Exception):
    """There is no address to be had; the text says what each server did."""


class ResolverBusyError(ResolveError):
    """MAX_QUEUED lookups wait already, or there is no descriptor to ask with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    addresses: tuple[Address, ...]
    until: float


class Resolver:
    """A stub resolver for absolute canonical names; ``families`` says which records to ask for."""

    def __init__(
        self,
        conf: ResolvConf,
        *,
        families: tuple[RecordType, ...] = ("A", "AAAA"),
        port: int = PORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conf = conf
        self._families = families
        self._port = port
        self._clock = clock
        self._places = asyncio.Semaphore(MAX_ACTIVE)
        self._lookups: dict[str, asyncio.Future[Found]] = {}
        self._cache: dict[str, _Remembered] = {}

    def remembered(self, name: str) -> tuple[Address, ...] | None:
        """The addresses of a recent answer, while it lives."""
        entry = self._cache.get(name)
        if entry is None or entry.until <= self._clock():
            return None
        return entry.addresses

    async def resolve(self, name: str) -> tuple[Address, ...]:
        """All addresses of ``name``, at least one. Raises ResolveError."""
        known = self.remembered(name)
        if known is not None:
            return known
        while (running := self._lookups.get(name)) is not None:
            await asyncio.wait([running])  # neither cancels it nor raises what it holds
            if not running.cancelled():
                return running.result().addresses
            # Who asked for all of us gave up: one of us goes on.
        return (await self._look_up(name)).addresses

    async def _look_up(self, name: str) -> Found:
        """Ask, for everybody who wants this name meanwhile; cancelled, it leaves that to them."""
        if len(self._lookups) >= MAX_QUEUED:
            raise ResolverBusyError(f"{MAX_QUEUED} lookups are waiting already")
        shared = self._lookups[name] = asyncio.get_running_loop().create_future()
        try:
            found = await self._within_time(name)
        except Exception as error:
            shared.set_exception(error)
            shared.exception()  # raised here; perhaps nobody else waits
            raise
        else:
            shared.set_result(found)
        finally:
            del self._lookups[name]
            shared.cancel()  # no answer will come where this task was cancelled
        self._remember(name, found)
        return found

    async def _within_time(self, name: str) -> Found:
        try:
            async with asyncio.timeout(TOTAL_S), self._places:
                return await self._rounds(name)
        except TimeoutError:
            raise ResolveError(f"no answer within {TOTAL_S:g} s") from None

    def _remember(self, name: str, found: Found) -> None:
        self._cache.pop(name, None)
        if len(self._cache) >= CACHED_NAMES:
            del self._cache[next(iter(self._cache))]
        self._cache[name] = _Remembered(
            addresses=found.addresses, until=self._clock() + found.ttl_s
        )

    async def _rounds(self, name: str) -> Found:
        """Server by server, as often as resolv.conf says, until one gives an answer."""
        failures: list[str] = []
        for _ in range(self._conf.attempts):
            for server in self._conf.servers:
                readings = await self._ask(server, name)
                found = [reading for reading in readings if isinstance(reading, Found)]
                addresses = tuple(address for one in found for address in one.addresses)
                if addresses:
                    return Found(addresses=addresses, ttl_s=min(one.ttl_s for one in found))
                if any(isinstance(reading, Missing) for reading in readings):
                    raise ResolveError(f"{server} says that the name does not exist")
                if len(found) == len(readings):
                    raise ResolveError(f"{server} says that the name has no address")
                whys = {reading.why for reading in readings if isinstance(reading, Unusable)}
                failures.append(f"{server}: {', '.join(sorted(whys))}")
        raise ResolveError("; ".join(failures))

    async def _ask(self, server: Address, name: str) -> list[Reading]:
        """Every record type at once, from one server."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._ask_one(server, name, one), name=f"dns {one} {name}")
                    for one in self._families
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask_one(self, server: Address, name: str, family: RecordType) -> Reading:
        query = question(name, family, secrets.randbelow(1 << 16))
        try:
            async with asyncio.timeout(self._conf.timeout_s):
                reading = await self._over_udp(server, query)
                if isinstance(reading, Truncated):
                    reading = await self._over_tcp(server, query)
        except TimeoutError:
            return Unusable(why="timeout")
        except OSError as error:
            return Unusable(why=error.strerror or "unreachable")
        return Unusable(why="truncated over TCP") if isinstance(reading, Truncated) else reading

    async def _over_udp(self, server: Address, query: bytes) -> Reading:
        loop = asyncio.get_running_loop()
        with _socket(server, socket.SOCK_DGRAM) as sock:
            sock.connect((str(server), self._port))
            await loop.sock_sendall(sock, query)
            for _ in range(MAX_STRAY):
                reading = read_response(await loop.sock_recv(sock, MAX_MESSAGE), query)
                if reading is not None:
                    return reading
        return Unusable(why="only stray packets")

    async def _over_tcp(self, server: Address, query: bytes) -> Reading:
        loop = asyncio.get_running_loop()
        with _socket(server, socket.SOCK_STREAM) as sock:
            await loop.sock_connect(sock, (str(server), self._port))
            await loop.sock_sendall(sock, framed(query))
            length = int.from_bytes(await _exactly(sock, 2), "big")
            reading = read_response(await _exactly(sock, length), query)
        return Unusable(why="the answer to another question") if reading is None else reading


def _socket(server: Address, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET if server.version == 4 else socket.AF_INET6
    try:
        return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise ResolverBusyError(error.strerror) from None
        raise


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise ConnectionResetError(104, "closed before the answer was complete")
        data += piece
    return bytes(data)
