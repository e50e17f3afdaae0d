"""Whether a tunnel notices that egress takes a new policy of a thousand rules.

    sudo .venv/bin/python scripts/bench_reload.py [--json]

One tunnel carries a ping-pong of 64 bytes all the time; first in peace, then while one policy after
the other is ordered, as the monitor orders it. Shown is the slowest round trip of each second
(median over the seconds): the stall that a reload adds to what the machine does anyhow.
"""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from functools import partial

import bench_relay as relay
from bench_decision import policy_of

from policy.index import compile_policy
from policy.wire import from_wire, to_wire

RULES = 1000
SECONDS = 5


def compiled(wire):
    return compile_policy(from_wire(json.loads(wire)))


def start_lab(processes, whole):
    """A lab whose egress, in a process of its own, obeys orders; and our end of that channel."""
    from support.egress_lab import Lab

    from supervisor.egress.orders import obey_orders
    from supervisor.egress.server import Egress
    from supervisor.events.stream import EventStream

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)

    class Ordered(Lab):
        async def _alone(self):
            egress = Egress(self.descriptors, self.setup, lambda _event: None)
            stream = EventStream(source="bench", hostname="bench", sinks=())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(egress.run())
                tasks.create_task(obey_orders(theirs, egress, compiled, stream))

    return Ordered(compile_policy(whole), apart=processes.fork), ours


class Reloads:
    """Orders one policy after the other; ``took`` has the seconds of each."""

    def __init__(self, channel, wire):
        self._channel = channel
        self._memory = os.memfd_create("policy")
        os.write(self._memory, wire)
        self._ordered = 0.0
        self.took = []
        channel.setblocking(False)

    def order(self):
        from supervisor.egress.order_messages import POLICY, Order, encode

        self._ordered = time.monotonic()
        packet = encode(Order(POLICY, len(self.took) + 1))
        socket.send_fds(self._channel, [packet], [self._memory])

    def go_on(self):
        """The next one as soon as the one before was accepted."""
        from supervisor.egress.order_messages import ACCEPTED, MAX_PACKET, decode

        try:
            answer = decode(self._channel.recv(MAX_PACKET))
        except BlockingIOError:
            return
        assert answer.kind == ACCEPTED, answer
        self.took.append(time.monotonic() - self._ordered)
        self.order()


def ping(tunnel, seconds, between=lambda: None):
    """The slowest round trip of each second, in milliseconds."""
    slowest = []
    for _ in range(seconds):
        end, worst = time.monotonic() + 1.0, 0.0
        while (started := time.monotonic()) < end:
            tunnel.sendall(b"x" * 64)
            assert len(tunnel.recv(64, socket.MSG_WAITALL)) == 64
            worst = max(worst, time.monotonic() - started)
            between()
        slowest.append(worst * 1e3)
    return statistics.median(slowest)


def policy_with(place, program):
    """RULES endpoints and one more, which the tunnel needs."""
    from support.built_policies import endpoint, entry, policy

    host, port = place
    one = entry("lab", endpoint(host, port), binaries=(program,))
    return policy(*policy_of(RULES - 1).network_policies, one)


def cpu_ms(job):
    """Of CPU, the best of five."""
    rounds = []
    for _ in range(5):
        start = time.process_time()
        job()
        rounds.append(time.process_time() - start)
    return min(rounds) * 1e3


def measure(processes, peer):
    from support.egress_lab import OUTSIDE, PROGRAM

    whole = policy_with((OUTSIDE, 7000), PROGRAM)
    wire = json.dumps(to_wire(whole)).encode()
    lab, channel = start_lab(processes, whole)
    lab.outside.do(lambda: processes.start(peer, "echo", OUTSIDE, "7000"))
    relay.wait_for(7000, OUTSIDE)
    tunnel, head = lab.connect(f"{OUTSIDE}:7000")
    assert b" 200 " in head, head
    ping(tunnel, 1)
    quiet = ping(tunnel, SECONDS)
    reloads = Reloads(channel, wire)
    reloads.order()
    busy = ping(tunnel, SECONDS, reloads.go_on)
    return {
        "rules": RULES,
        "slowest round trip, quiet (ms)": quiet,
        "slowest round trip, reloading (ms)": busy,
        "reload, whole (ms)": statistics.median(reloads.took) * 1e3,
        "read the wire (ms CPU)": cpu_ms(partial(lambda: from_wire(json.loads(wire)))),
        "compile (ms CPU)": cpu_ms(partial(compile_policy, whole)),
        "reloads": len(reloads.took),
    }


def main():
    relay.unshare_net()
    processes = relay.Processes()
    with tempfile.TemporaryDirectory() as directory:
        try:
            found = measure(processes, relay.compile_peer(directory))
        finally:
            processes.stop()
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for what, value in found.items():
        print(f"{what:36} {value:10.2f}")


if __name__ == "__main__":
    main()
