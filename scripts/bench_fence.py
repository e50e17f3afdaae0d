"""What the fence costs: imports, set-up, an update of one element, reading back.

    python scripts/bench_fence.py [--json]

As root; everything happens in network namespaces of forked children. CPU is the steadier figure
on a shared machine. What matters: "set-up beyond imports" (goal: at most 30 ms) and "one element" (goal: at most 1 ms).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from resource import RUSAGE_CHILDREN, RUSAGE_SELF
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

ROUNDS = 15
ELEMENT_ROUNDS = 200

# What a fresh interpreter pays before the set-up child's first system call.
IMPORTS = """
import sys, time
sys.path.insert(0, {root!r})
start, cpu = time.perf_counter(), time.process_time()
import supervisor.fence.{module}
print(time.perf_counter() - start, time.process_time() - cpu)
"""
PYROUTE2 = """
import time
start, cpu = time.perf_counter(), time.process_time()
import pyroute2
print(time.perf_counter() - start, time.process_time() - cpu)
"""


class Cost(NamedTuple):
    """Seconds: on the clock, and of CPU in this process and its children."""

    wall: float
    cpu: float


def in_fresh_interpreter(program: str) -> Cost:
    words = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return Cost(*(float(word) for word in words))


def median_ms(measure: Callable[[], Cost], rounds: int = ROUNDS) -> dict[str, float]:
    costs = [measure() for _ in range(rounds)]
    return {
        "wall_ms": round(1000 * statistics.median(cost.wall for cost in costs), 2),
        "cpu_ms": round(1000 * statistics.median(cost.cpu for cost in costs), 2),
    }


def in_child(measure: Callable[[], Cost]) -> Cost:
    """Call in a forked child; its answer comes back over a pipe."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, " ".join(map(repr, measure())).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return Cost(*(float(word) for word in text.split()))


def cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def timed(function: Callable[[], object], times: int = 1) -> Cost:
    wall, cpu = time.perf_counter(), cpu_seconds()
    for _ in range(times):
        function()
    return Cost((time.perf_counter() - wall) / times, (cpu_seconds() - cpu) / times)


def pod_namespace() -> None:
    from supervisor.kernel import rtnetlink
    from supervisor.kernel.namespaces import CLONE_NEWNET, unshare

    unshare(CLONE_NEWNET)
    with rtnetlink.open_socket() as route:
        rtnetlink.loopback_up(route)


def measure_namespace(served: object) -> Cost:
    from supervisor.fence.setup import create_namespace

    return timed(lambda: create_namespace(served))  # type: ignore[arg-type]


def measure_pod() -> Cost:
    from supervisor.fence.request import PodRequest
    from supervisor.fence.setup import install_pod_fence

    pod_namespace()
    return timed(lambda: install_pod_fence(PodRequest(egress_uid=64998, workload_uid=2001)))


def measure_rules(what: str) -> Cost:
    """Inside a namespace with the pod's table: replace it, read it back, or change one element."""
    from supervisor.fence import pod
    from supervisor.fence.compare import require_equal
    from supervisor.fence.request import PodRequest
    from supervisor.kernel import nftables
    from supervisor.kernel.ruleset import PortSet

    pod_namespace()
    table = pod.ruleset(PodRequest(egress_uid=64998, workload_uid=2001))
    one = PortSet(name=pod.CLOSED_TCP, ports=frozenset({8000}))
    with nftables.open_socket() as channel:
        flags = nftables.install(channel, table)
        if what == "replace":
            return timed(lambda: nftables.install(channel, table))
        if what == "read back":
            asked = nftables.expected(table, flags)
            return timed(lambda: require_equal(nftables.read_back(channel, table.name), asked))

        def change() -> None:
            nftables.add_ports(channel, table.name, one)
            nftables.remove_ports(channel, table.name, one)

        both = timed(change, ELEMENT_ROUNDS)
        return Cost(both.wall / 2, both.cpu / 2)


def figures() -> dict[str, dict[str, float]]:
    namespace = IMPORTS.format(root=ROOT, module="construction")
    pod = IMPORTS.format(root=ROOT, module="pod_construction")
    found = {
        "imports of the namespace set-up child": median_ms(lambda: in_fresh_interpreter(namespace)),
        "imports of the pod set-up child": median_ms(lambda: in_fresh_interpreter(pod)),
        "import pyroute2, for comparison": median_ms(lambda: in_fresh_interpreter(PYROUTE2), 5),
    }
    # From here on the children inherit the imports, so what is left is set-up alone.
    import supervisor.fence.construction
    import supervisor.fence.pod_construction  # noqa: F401
    from supervisor.fence.request import Served
    from supervisor.kernel.codec import link_messages

    link_messages()
    return found | {
        "closed namespace beyond imports": median_ms(
            lambda: in_child(lambda: measure_namespace(None))
        ),
        "served namespace beyond imports": median_ms(
            lambda: in_child(lambda: measure_namespace(Served()))
        ),
        "pod beyond imports": median_ms(lambda: in_child(measure_pod)),
        "replace the pod's whole table": median_ms(
            lambda: in_child(lambda: measure_rules("replace"))
        ),
        "read the pod's table back": median_ms(
            lambda: in_child(lambda: measure_rules("read back"))
        ),
        "update of one element": median_ms(lambda: in_child(lambda: measure_rules("element")), 5),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = figures()
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(" wall ms   cpu ms  (medians)")
    for name, cost in found.items():
        print(f"{cost['wall_ms']:8.2f} {cost['cpu_ms']:8.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
