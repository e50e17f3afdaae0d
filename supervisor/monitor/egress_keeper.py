"""Keep egress alive on the same sockets, answer its questions, hand it new policies.

While egress is down its listeners live on in the monitor: connections wait in the backlog for
PATIENCE_S, then they are reset, so that no program hangs on a name that nobody answers. The fence
does not depend on any of this.
"""

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.egress import order_messages as orders
from supervisor.egress.owner_messages import (
    MAX_QUESTIONS,
    QUESTIONS_SIZE,
    MessageError,
    decode_questions,
    encode_answer,
)
from supervisor.egress.process import EgressSpec, serve
from supervisor.events.frames import MAX_FRAME, FrameError
from supervisor.events.log import Log
from supervisor.events.metrics_page import clear_page
from supervisor.events.status import HelperStatus
from supervisor.events.vocabulary import PolicyLoaded, PolicyRejected, Why
from supervisor.kernel.memfd import sealed
from supervisor.monitor import codes
from supervisor.monitor.helper import Helper
from supervisor.monitor.loop import Loop
from supervisor.monitor.owners import Found, Owners
from supervisor.monitor.record_server import Source

PATIENCE_S = 10.0  # how long connections may wait for a dead egress before they are reset
RESETS_PER_TURN = 64
# Of an egress that ended: its socket's buffer holds no more of the usual size.
LAST_RECORDS = 512
RESET_INTERVAL_S = 0.25
LINGER_RESET = struct.pack("ii", 1, 0)  # close() sends a reset: socket(7), SO_LINGER
STREAMS = ("capture4", "capture6", "proxy4", "proxy6", "dns_tcp4", "dns_tcp6")


@dataclass(slots=True)
class _Running:
    owners: socket.socket
    orders: socket.socket
    records: socket.socket


@dataclass(slots=True)
class _Policy:
    """The generations: what the next egress starts with, and what is being tried."""

    current: bytes
    generation: int = 0
    in_force: int = 0
    tried: dict[int, bytes] = field(default_factory=dict)


class EgressKeeper:
    """See the module's text. A Keeper of the monitor's loop."""

    def __init__(
        self,
        *,
        spec: EgressSpec,
        policy: bytes,
        workload: tuple[int, int] | None,
        loop: Loop,
        log: Log,
        source: Source,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._workload = workload
        self._spec = spec
        self._policy = _Policy(policy)
        self._loop = loop
        self._log = log
        self._helper = Helper(
            name="egress",
            fork=self._fork,
            crash_loop=codes.EGRESS_CRASH_LOOP,
            loop=loop,
            log=log,
        )
        self._owners = Owners(workload=workload, ours=self._ours)
        self._source = source
        self._on_ready = on_ready
        self._not_workload: frozenset[int] = frozenset()
        self._running: _Running | None = None
        self.tunnels = 0  # that lived when egress last said so, within a second
        self._down_since: float | None = None

    def start(self) -> None:
        """Start egress. The workload may start at once: its connections wait in the backlog."""
        self._helper.start()

    def _fork(self) -> int:
        owners, their_owners = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order, their_order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        records, their_records = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            owners.close()
            order.close()
            records.close()
            serve(
                self._spec,
                policy=self._policy.current,
                owners=their_owners.detach(),
                orders=their_order.detach(),
                records=their_records.detach(),
                sequence=self._source.last,
            )
        their_owners.close()
        their_order.close()
        their_records.close()
        for channel in (owners, order, records):
            channel.setblocking(False)
        self._running = _Running(owners, order, records)
        self._loop.watch(owners.fileno(), self._on_question)
        self._loop.watch(order.fileno(), self._on_order)
        self._loop.watch(records.fileno(), self._on_record)
        return pid

    def use_policy(self, policy: bytes) -> int:
        """Offer a new policy; its generation. It is kept only once egress has accepted it."""
        self._policy.generation += 1
        generation = self._policy.generation
        if self._running is None:
            self._take(generation, policy)  # the next egress starts with it
            return generation
        self._policy.tried[generation] = policy
        memory = sealed("policy", policy)
        try:
            packet = orders.encode(orders.Order(orders.POLICY, generation))
            socket.send_fds(self._running.orders, [packet], [memory])
        except OSError as error:
            self._rejected(generation, error.strerror or "no answer")
        finally:
            os.close(memory)
        return generation

    def exclude(self, pids: frozenset[int]) -> None:
        """Processes beside the workload that are ours: its ancestors end below them."""
        self._not_workload = pids

    def _ours(self) -> frozenset[int]:
        return self._loop.own_pids() | self._not_workload

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return self._helper.pids()

    def deadline(self) -> float | None:
        """See Keeper."""
        due = [self._helper.deadline(), self._owners.deadline()]
        if self._down_since is not None:
            due.append(self._down_since + PATIENCE_S)
        return min((time_ for time_ in due if time_ is not None), default=None)

    def on_time(self, now: float) -> None:
        """See Keeper."""
        for found in self._owners.work():
            self._answer(found)
        self._helper.on_time(now)
        if self._down_since is not None and now >= self._down_since + PATIENCE_S:
            self.reset_waiting()
            self._down_since = now - PATIENCE_S + RESET_INTERVAL_S

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""
        running = self._running
        if running is None or not self._helper.has_ended(
            pid, status, now, hear_out=lambda: self._on_record(LAST_RECORDS)
        ):
            return
        for channel in (running.owners, running.orders, running.records):
            self._loop.unwatch(channel.fileno())
            channel.close()
        self._running = None
        self.tunnels = 0
        if self._spec.metrics is not None:
            clear_page(self._spec.metrics)
        self._owners = Owners(workload=self._workload, ours=self._ours)
        if self._down_since is None:
            self._down_since = now

    def _on_question(self) -> None:
        """Take all that came: one search answers whatever waits when it begins."""
        for _ in range(MAX_QUESTIONS):
            packet = (
                None if self._running is None else _receive(self._running.owners, QUESTIONS_SIZE)
            )
            if packet is None:
                return
            try:
                questions = decode_questions(packet)
            except MessageError as error:
                self._helper.broke_protocol(str(error))
                return
            for question in questions:
                refused = self._owners.ask(question)
                if refused is not None:
                    self._answer(refused)

    def _answer(self, found: Found) -> None:
        try:
            if self._running is not None:
                packet = encode_answer(found.answer)
                socket.send_fds(self._running.owners, [packet], list(found.descriptors))
        except OSError as error:
            # Egress asks at most what its queue takes; it gives a question up by itself.
            self._helper.complain(codes.HELPER_UNREACHABLE, error.strerror or "")

    def _on_order(self) -> None:
        if self._running is None:
            return
        packet = _receive(self._running.orders, orders.MAX_PACKET)
        if packet is None:
            return
        try:
            order = orders.decode(packet)
        except orders.OrderError as error:
            self._helper.broke_protocol(str(error))
            return
        self._helper.heard()
        if order.kind == orders.READY:
            self._down_since = None
            self._helper.serves()
            self._on_ready()
        elif order.kind == orders.ALIVE:
            self.tunnels = order.number
        elif order.kind == orders.ACCEPTED:
            self._accepted(order.number)
        elif order.kind == orders.REJECTED:
            self._rejected(order.number, order.text)

    def _on_record(self, at_most: int = 1) -> None:
        for _ in range(at_most):
            packet = None if self._running is None else _receive(self._running.records, MAX_FRAME)
            if packet is None:
                return
            try:
                self._source.take(packet)
            except FrameError as error:
                self._helper.broke_protocol(str(error))
                return

    def status(self) -> HelperStatus:
        """For ``status``."""
        return self._helper.status()

    @property
    def generation(self) -> int:
        """The policy in force; 0 is the first one."""
        return self._policy.in_force

    def _accepted(self, generation: int) -> None:
        policy = self._policy.tried.pop(generation, None)
        if policy is not None:
            self._take(generation, policy)

    def _take(self, generation: int, policy: bytes) -> None:
        self._policy.current, self._policy.in_force = policy, generation
        self._log.emit(PolicyLoaded(generation=generation))

    def _rejected(self, generation: int, cause: str) -> None:
        self._policy.tried.pop(generation, None)
        why = Why.of(codes.POLICY_NOT_TAKEN, cause)
        self._log.emit(PolicyRejected(generation=self._policy.in_force, why=why))

    def reset_waiting(self) -> None:
        """Reset the connections that wait for egress, at most RESETS_PER_TURN of each listener."""
        for name in STREAMS:
            if name in self._spec.sockets:
                _reset_all(self._spec.sockets[name])


def _receive(channel: socket.socket, size: int) -> bytes | None:
    """One packet; None where there is nothing more (its process is ending)."""
    try:
        return channel.recv(size + 1) or None
    except (BlockingIOError, ConnectionResetError):
        return None


def _reset_all(listener: int) -> None:
    with socket.socket(fileno=os.dup(listener)) as waiting:
        waiting.setblocking(False)
        for _ in range(RESETS_PER_TURN):
            try:
                client, _address = waiting.accept()
            except OSError:
                return  # nobody waits any more, or nobody can be taken now
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            client.close()
