"""Keep egress alive on the same sockets, answer its questions, hand it new policies.

While egress is down its listeners live on in the monitor: connections wait in the backlog for
PATIENCE_S, then they are reset, so that no program hangs on a name that nobody answers. The fence
does not depend on any of this.
"""

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.egress import order_messages as orders
from supervisor.egress.owner_messages import (
    QUESTION_SIZE,
    MessageError,
    decode_question,
    encode_answer,
)
from supervisor.egress.process import EgressSpec, serve
from supervisor.events.log import Log
from supervisor.kernel.memfd import sealed
from supervisor.monitor import codes
from supervisor.monitor.loop import Loop
from supervisor.monitor.owners import Found, Owners
from supervisor.monitor.restarts import Restarts

# Egress says that it lives once a second; silence of this length is a hang (SIGSTOP, a loop that
# does not return, a machine out of memory) and ends it.
SILENCE_S = 15.0
START_S = 60.0  # until its first word; importing on a cold, busy machine takes seconds
PATIENCE_S = 10.0  # how long connections may wait for a dead egress before they are reset
RESETS_PER_TURN = 64
RESET_INTERVAL_S = 0.25
LINGER_RESET = struct.pack("ii", 1, 0)  # close() sends a reset: socket(7), SO_LINGER
STREAMS = ("capture4", "capture6", "proxy4", "proxy6", "dns_tcp4", "dns_tcp6")


@dataclass(slots=True)
class _Running:
    pid: int
    owners: socket.socket
    orders: socket.socket
    heard: float
    ready: bool = False


@dataclass(slots=True)
class _Policy:
    """The generations: what the next egress starts with, and what is being tried."""

    current: bytes
    generation: int = 0
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
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._workload = workload
        self._spec = spec
        self._policy = _Policy(policy)
        self._loop = loop
        self._log = log
        self._restarts = Restarts()
        self._owners = Owners(workload=workload)
        self._on_ready = on_ready
        self._not_workload: frozenset[int] = frozenset()
        self._running: _Running | None = None
        self._start_at: float | None = None
        self._down_since: float | None = None

    def start(self) -> None:
        """Fork egress. The workload may start at once: its connections wait in the backlog."""
        owners, their_owners = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order, their_order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            owners.close()
            order.close()
            serve(
                self._spec,
                policy=self._policy.current,
                owners=their_owners.detach(),
                orders=their_order.detach(),
            )
        their_owners.close()
        their_order.close()
        for channel in (owners, order):
            channel.setblocking(False)
        self._running = _Running(pid, owners, order, heard=time.monotonic() + START_S)
        self._owners.exclude(self._not_workload | {pid})
        self._start_at = None
        self._loop.watch(owners.fileno(), self._on_question)
        self._loop.watch(order.fileno(), self._on_order)

    def use_policy(self, policy: bytes) -> int:
        """Offer a new policy; its generation. It is kept only once egress has accepted it."""
        self._policy.generation += 1
        generation = self._policy.generation
        if self._running is None:
            self._policy.current = policy  # the next egress starts with it
            return generation
        self._policy.tried[generation] = policy
        memory = sealed("policy", policy)
        try:
            packet = orders.encode(orders.Order(orders.POLICY, generation))
            socket.send_fds(self._running.orders, [packet], [memory])
        except OSError as error:
            self._log.emit("policy.rejected", level="error", cause=f"egress: {error.strerror}")
        finally:
            os.close(memory)
        return generation

    def exclude(self, pids: frozenset[int]) -> None:
        """Processes beside the workload that are ours: its ancestors end below them."""
        self._not_workload = pids
        self._owners.exclude(pids | self.pids())

    def pids(self) -> frozenset[int]:
        """See Keeper."""
        return frozenset() if self._running is None else frozenset({self._running.pid})

    def deadline(self) -> float | None:
        """See Keeper."""
        if self._owners.busy:
            return 0.0
        due = [self._start_at]
        if self._running is not None:
            due.append(self._running.heard + SILENCE_S)
        if self._down_since is not None:
            due.append(self._down_since + PATIENCE_S)
        return min((time_ for time_ in due if time_ is not None), default=None)

    def on_time(self, now: float) -> None:
        """See Keeper."""
        for found in self._owners.work():
            self._answer(found)
        if self._running is not None and now >= self._running.heard + SILENCE_S:
            self._log.emit("helper.silent", level="error", helper="egress", pid=self._running.pid)
            os.kill(self._running.pid, signal.SIGKILL)
            self._running.heard = now
        if self._start_at is not None and now >= self._start_at:
            self.start()
        if self._down_since is not None and now >= self._down_since + PATIENCE_S:
            self._reset_waiting()
            self._down_since = now - PATIENCE_S + RESET_INTERVAL_S

    def on_exit(self, pid: int, status: int, now: float) -> None:
        """See Keeper."""
        running = self._running
        if running is None or pid != running.pid:
            return
        for channel in (running.owners, running.orders):
            self._loop.unwatch(channel.fileno())
            channel.close()
        self._running = None
        self._owners = Owners(workload=self._workload)
        if self._down_since is None:
            self._down_since = now
        code = os.waitstatus_to_exitcode(status)
        self._start_at = self._restarts.next_start(now=now)
        if self._start_at is None:
            self._log.emit("helper.given-up", level="error", helper="egress", status=code)
            self._loop.fail(codes.EGRESS_CRASH_LOOP)
            return
        delay = round(self._start_at - now, 3)
        self._log.emit("helper.died", level="error", helper="egress", status=code, restart_s=delay)

    def _on_question(self) -> None:
        if self._running is None:
            return
        packet = _receive(self._running.owners, QUESTION_SIZE)
        if packet is None:
            return
        try:
            refused = self._owners.ask(decode_question(packet))
        except MessageError as error:
            self._protocol_error(str(error))
            return
        if refused is not None:
            self._answer(refused)

    def _answer(self, found: Found) -> None:
        try:
            if self._running is not None:
                packet = encode_answer(found.answer)
                socket.send_fds(self._running.owners, [packet], list(found.descriptors))
        except OSError as error:
            # Egress asks at most what its queue takes; it gives a question up by itself.
            self._log.emit("helper.unreachable", level="warning", cause=error.strerror)
        finally:
            for descriptor in found.descriptors:
                os.close(descriptor)

    def _on_order(self) -> None:
        if self._running is None:
            return
        packet = _receive(self._running.orders, orders.MAX_PACKET)
        if packet is None:
            return
        try:
            order = orders.decode(packet)
        except orders.OrderError as error:
            self._protocol_error(str(error))
            return
        self._running.heard = time.monotonic()
        if order.kind == orders.READY:
            self._running.ready = True
            self._down_since = None
            self._log.emit("egress.ready", pid=self._running.pid)
            self._on_ready()
        elif order.kind == orders.ACCEPTED:
            self._accepted(order.generation)
        elif order.kind == orders.REJECTED:
            self._policy.tried.pop(order.generation, None)
            self._log.emit("policy.rejected", level="error", cause=order.text)

    def _accepted(self, generation: int) -> None:
        policy = self._policy.tried.pop(generation, None)
        if policy is not None:
            self._policy.current = policy
            self._log.emit("policy.loaded", generation=generation)

    def _protocol_error(self, cause: str) -> None:
        """What egress says is not trusted: a broken one is ended and replaced."""
        self._log.emit("helper.protocol", level="error", helper="egress", cause=cause)
        if self._running is not None:
            os.kill(self._running.pid, signal.SIGKILL)

    def _reset_waiting(self) -> None:
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
