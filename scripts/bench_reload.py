"""What a new policy of a thousand rules costs, and what a tunnel notices of it.

    python scripts/bench_reload.py [--json]

The tunnel is relayed by egress' own relay, in a process that obeys the monitor's orders as egress
does; a round trip through it is timed again and again. "Stalled" would be a round trip as long as
the reading of the policy. What matters: "beyond reading" (goal: at most 10 ms) and the longest wait.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from policy.decide import decide_connection  # noqa: E402
from policy.index import Index, compile_policy  # noqa: E402
from policy.intent import ConnectionIntent  # noqa: E402
from policy.load import load  # noqa: E402
from policy.wire import from_wire, to_wire  # noqa: E402
from supervisor.egress.order_messages import POLICY, Order, encode  # noqa: E402
from supervisor.egress.orders import Orders  # noqa: E402
from supervisor.egress.poller import Poller  # noqa: E402
from supervisor.egress.relay import Relay  # noqa: E402
from supervisor.kernel.memfd import sealed  # noqa: E402

RULES = 1000
TUNNELS = 1000  # whose verdict is asked again
ROUNDS = 15
DEADLINE_S = 20.0  # nothing takes a hundredth of this


def wire_policy() -> bytes:
    entries = "".join(
        f"  e{n}:\n    endpoints: [{{host: h{n}.example.com, port: 443}}]\n"
        "    binaries: [{path: /usr/bin/curl}]\n"
        for n in range(RULES)
    )
    text = f"version: 1\nnetwork_policies:\n{entries}"
    return json.dumps(to_wire(load(text.encode(), file="policy.yaml"))).encode()


def ask_again(index: Index) -> int:
    """As for living tunnels: how many the policy allows no more."""
    intents = (
        ConnectionIntent(host=f"h{n % RULES}.example.com", port=443, binary="/usr/bin/curl")
        for n in range(TUNNELS)
    )
    return sum(not decide_connection(index, intent).is_forwarded for intent in intents)


def relaying(client: socket.socket, upstream: socket.socket, orders: socket.socket) -> None:
    """A process with one tunnel, which obeys."""

    client.setblocking(False)
    upstream.setblocking(False)

    async def main() -> None:
        loop, poller = asyncio.get_running_loop(), Poller()
        relay = Relay(poller)
        for side in (client, upstream):
            side.setblocking(False)
        relay.start(client=client, upstream=upstream, ended=lambda *_: None)
        poller.attach(loop)
        with ThreadPoolExecutor(1) as thread:
            Orders(
                orders,
                read=lambda whole: compile_policy(from_wire(json.loads(whole))),
                use=ask_again, used=lambda *_: None, stop=loop.stop, thread=thread,
            ).attach(loop)  # fmt: skip
            await asyncio.Event().wait()

    asyncio.run(main())


class Trips(NamedTuple):
    """Round trips through the tunnel: the longest in seconds, and how many a second."""

    longest: float
    rate: float


def round_trips(near: socket.socket, far: socket.socket, until: "socket.socket | float") -> Trips:
    """Make them for so many seconds, or until the order is obeyed."""
    longest, count, began = 0.0, 0, time.perf_counter()
    end = began + (until if isinstance(until, float) else DEADLINE_S)
    while time.perf_counter() < end:
        start = time.perf_counter()
        near.sendall(b"x")
        far.recv(1)
        far.sendall(b"x")
        near.recv(1)
        longest, count = max(longest, time.perf_counter() - start), count + 1
        if isinstance(until, socket.socket):
            try:
                until.recv(100)
            except BlockingIOError:
                continue
            break
    else:
        if isinstance(until, socket.socket):
            raise SystemExit("the policy was not taken in time")
    return Trips(longest, count / (time.perf_counter() - began))


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(DEADLINE_S)
    return near, far


def waits(policy: bytes) -> dict[str, float]:
    near, client = pair()
    upstream, far = pair()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        relaying(client, upstream, theirs)
    client.close(), upstream.close(), theirs.close()
    ours.setblocking(False)
    loaded, quiet = [], []
    try:
        for generation in range(ROUNDS):
            memory = sealed("policy", policy)
            start = time.perf_counter()
            socket.send_fds(ours, [encode(Order(POLICY, generation))], [memory])
            loaded.append(round_trips(near, far, ours))
            quiet.append(round_trips(near, far, time.perf_counter() - start))
            os.close(memory)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    found = {}
    for what, trips in (("during a reload", loaded), ("without one", quiet)):
        found[f"longest round trip {what} (ms)"] = 1000 * statistics.median(
            t.longest for t in trips
        )
        found[f"round trips {what} (per s)"] = statistics.median(t.rate for t in trips)
    return found


def cpu_ms(function) -> float:
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        rounds.append(time.process_time() - start)
    return 1000 * statistics.median(rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    policy = wire_policy()
    model = from_wire(json.loads(policy))
    found = {
        "reading (ms CPU)": cpu_ms(lambda: from_wire(json.loads(policy))),
        "beyond reading (ms CPU)": cpu_ms(lambda: ask_again(compile_policy(model))),
        **waits(policy),
    }
    if arguments.json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        print(f"{value:8.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
