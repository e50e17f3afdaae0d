"""How long a decision takes, and whether that grows with the policy. Prints a table, asserts nothing.

    scripts/bench_decision.py [--sizes 10,1000,100000] [--rego PYTHON] [--json]

Figures are microseconds of CPU, the best of several rounds, because other work on the machine only
ever adds. ``naive`` asks every endpoint in turn with the same matchers. ``--rego`` names the
interpreter of a throw-away environment that has ``regopy`` (the engine in which the reference's
kind of policy is written); it is given equivalent rules, once written plainly and once with the
hosts as keys.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.built_policies import CURL, endpoint, entry, policy  # noqa: E402

from policy.decide import decide_connection, decide_request  # noqa: E402
from policy.host import canonical_host  # noqa: E402
from policy.index import CACHED_HOSTS, compile_policy  # noqa: E402
from policy.intent import ConnectionIntent, RequestIntent  # noqa: E402
from policy.model import Policy  # noqa: E402

ROUNDS = 7
ROUND_S = 0.1  # long enough that the clock's resolution does not show

REGO_PLAIN = """
package p
import rego.v1
default allow := false
allow if {
  some e in data.endpoints
  e.host == input.host
  e.port == input.port
  input.binary in e.binaries
}
"""
REGO_KEYED = """
package p
import rego.v1
default allow := false
allow if {
  e := data.hosts[input.host]
  e.port == input.port
  input.binary in e.binaries
}
"""
REGO_PROGRAM = """
import json, sys, time
import regopy
task = json.load(sys.stdin)
engine = regopy.Interpreter()
engine.add_data_json(json.dumps(task["data"]))
engine.add_module("p", task["module"])
engine.set_input(task["input"])
answer = str(engine.query("data.p.allow"))
assert "true" in answer, answer
best = float("inf")
for _ in range(5):
    start = time.process_time(); count = 0
    while time.process_time() - start < 0.1:
        engine.set_input(task["input"]); engine.query("data.p.allow"); count += 1
    best = min(best, (time.process_time() - start) / count)
print(best * 1e6)
"""


def microseconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    count = 1
    while True:
        start = time.process_time()
        for _ in range(count):
            call()
        if time.process_time() - start >= ROUND_S / 4:
            break
        count *= 4
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - start) / count)
    return best * 1e6


def policy_of(size: int) -> Policy:
    """Half exact hosts with request rules, half domains with a star."""
    exact = [endpoint(f"h{n}.example.com", access="read-only") for n in range(size // 2)]
    starred = [endpoint(f"*.d{n}.example.org") for n in range(size - size // 2)]
    return policy(entry("bench", *exact, *starred))


def naive(whole: Policy, intent: ConnectionIntent) -> bool:
    """One entry names host, port and program: every endpoint asked in turn."""
    host = canonical_host(intent.host)
    for one in whole.network_policies:
        for found in one.endpoints:
            if (
                found.host is not None
                and found.host.matches(host)
                and intent.port in found.ports
                and any(b.path.matches(intent.binary or "") for b in one.binaries)
            ):
                return True
    return False


def rego(python: str, module: str, data: object, intent: ConnectionIntent) -> float:
    task = {
        "module": module,
        "data": data,
        "input": {"host": intent.host, "port": intent.port, "binary": intent.binary},
    }
    done = subprocess.run(
        [python, "-c", REGO_PROGRAM],
        input=json.dumps(task),
        text=True,
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def measure(size: int, rego_python: str | None) -> dict[str, float]:
    whole = policy_of(size)
    rounds = []
    for _ in range(3):
        start = time.process_time()
        index = compile_policy(whole)
        rounds.append(time.process_time() - start)
    last = size // 2 - 1
    ask = ConnectionIntent(
        host=f"h{last}.example.com", port=443, binary=CURL, ancestors=("/bin/sh", "/opt/agent")
    )
    starred = ConnectionIntent(host=f"x.d{last}.example.org", port=443, binary=CURL)
    # Far more names than are remembered, in turn: each is new when its turn comes.
    fresh = itertools.cycle(
        ConnectionIntent(host=f"x{n}.d{last}.example.org", port=443, binary=CURL)
        for n in range(10 * CACHED_HOSTS)
    )
    unknown = ConnectionIntent(host="x.nowhere.example", port=443, binary=CURL)
    request = RequestIntent(connection=ask, method="GET", path="/v1/users/7", query="a=b")
    assert decide_connection(index, ask).verdict == "allow"
    assert decide_connection(index, starred).verdict == "allow"
    assert decide_request(index, request).verdict == "allow"
    found = {
        "compile (ms)": min(rounds) * 1e3,
        "exact host": microseconds(lambda: decide_connection(index, ask)),
        "starred host": microseconds(lambda: decide_connection(index, starred)),
        "starred, name never seen": microseconds(lambda: decide_connection(index, next(fresh))),
        "denied host": microseconds(lambda: decide_connection(index, unknown)),
        "request": microseconds(lambda: decide_request(index, request)),
        "naive, exact host": microseconds(lambda: naive(whole, ask)),
    }
    if rego_python and size <= 10_000:  # beyond, one plain query takes most of a second
        rows = [{"host": f"h{n}.example.com", "port": 443, "binaries": [CURL]} for n in range(size)]
        keyed = {row["host"]: row for row in rows}
        found["rego, plain"] = rego(rego_python, REGO_PLAIN, {"endpoints": rows}, ask)
        found["rego, hosts as keys"] = rego(rego_python, REGO_KEYED, {"hosts": keyed}, ask)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10,1000,10000,100000")
    parser.add_argument("--rego", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes = [int(text) for text in arguments.sizes.split(",")]
    results = {size: measure(size, arguments.rego) for size in sizes}
    if arguments.json:
        print(json.dumps(results))
        return 0
    print(f"{'endpoints':32}" + "".join(f"{size:>12}" for size in sizes))
    for name in results[sizes[0]]:
        cells = (results[size].get(name) for size in sizes)
        print(f"{name:32}" + "".join("           -" if c is None else f"{c:12.2f}" for c in cells))
    for name in [n for n in results[sizes[0]] if n.startswith(("naive", "rego"))]:
        ratios = (
            results[size][name] / results[size]["exact host"] if name in results[size] else None
            for size in sizes
        )
        cells_text = "".join("           -" if r is None else f"{r:11.0f}×" for r in ratios)
        print(f"{name + ' / exact host':32}{cells_text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
