"""One table from all benches: each is run on its own, and its figures become rows against a measure.

A row's measure is another program, the same thing without us, or the goal of the issues. Nothing is
asserted: on shared cores only ratios within one run mean anything, and a person reads them.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
Figures = dict[str, Any]


class Row(NamedTuple):
    """``goal`` is the highest ratio that the issues ask for; None where they ask for none."""

    what: str
    ours: float
    unit: str
    measure: str
    theirs: float
    goal: float | None = None


def goal(what: str, ours: float, unit: str, most: float) -> Row:
    """A row whose measure is an absolute goal."""
    return Row(what, ours, unit, "goal", most, 1.0)


def workspace(found: Figures) -> Iterator[Row]:
    goals = {"root": 1.1, "earlier identity": 1.1, "the identity": 0.8}
    for row in found["rows"]:
        what = f"{row['files']} files, tree of {row['tree']}"
        yield Row(what, row["ours_ms"], "ms", "chown -hR", row["chown_ms"], goals[row["tree"]])


def fence(found: Figures) -> Iterator[Row]:
    for what in ("closed namespace", "served namespace", "pod"):
        cost = found[f"{what} beyond imports"]
        yield goal(f"{what} beyond imports", cost["cpu_ms"], "ms CPU", 30)
        yield goal(f"{what} beyond imports, on the clock", cost["wall_ms"], "ms", 30)
    yield goal("update of one element", found["update of one element"]["cpu_ms"], "ms CPU", 1)
    imports = found["imports of the namespace set-up child"]["cpu_ms"]
    pyroute2 = found["import pyroute2, for comparison"]["cpu_ms"]
    yield Row("imports of the set-up child", imports, "ms CPU", "import pyroute2", pyroute2)


def confinement(found: Figures) -> Iterator[Row]:
    for section, confined in (("call_ns", "filtered"), ("open_ns", "restricted")):
        for what, bare in found[section]["bare"].items():
            yield Row(f"{what}, {confined}", found[section][confined][what], "ns", "bare", bare)


def decision(found: Figures) -> Iterator[Row]:
    sizes = sorted(found, key=int)
    small, large = found[sizes[0]], found[sizes[-1]]
    yield goal(f"decision, {sizes[0]} endpoints", small["exact host"], "us CPU", 3)
    for what in ("exact host", "starred host", "request"):
        measure = f"{sizes[0]} endpoints"
        yield Row(f"{what}, {sizes[-1]} endpoints", large[what], "us CPU", measure, small[what], 2)
    naive = large["naive, exact host"]
    yield Row(f"exact host, {sizes[-1]} endpoints", large["exact host"], "us CPU", "naive", naive)
    if "10000" in found:
        yield goal("compile 10000 endpoints", found["10000"]["compile (ms)"], "ms CPU", 100)


def policy(found: Figures) -> Iterator[Row]:
    what = "load and check 50 endpoints"
    yield goal(what, found[what], "ms CPU", found["goal"])
    bare = found["bare interpreter"]
    static = "static half of the monitor, no YAML"
    yield Row(static, found[static], "ms CPU", "bare interpreter", bare)


def reload(found: Figures) -> Iterator[Row]:
    yield goal("1000 rules, beyond reading", found["beyond reading (ms CPU)"], "ms CPU", 10)
    during, quiet = (
        found[f"longest round trip {when} (ms)"] for when in ("during a reload", "without one")
    )
    yield Row("longest round trip during a reload", during, "ms", "without one", quiet)
    yield Row("the same", during, "ms", "CPU of reading", found["reading (ms CPU)"])


def events(found: Figures) -> Iterator[Row]:
    for what, value in found.items():
        if what.endswith(("as JSON", "as a line")):
            yield goal(what, value, "us CPU", found["goal"])


def relay(found: Figures) -> Iterator[Row]:
    for streams, rows in found.get("bulk", {}).items():
        ours, theirs = rows["egress relay"]["cpu_s_per_gib"], rows["C splice"]["cpu_s_per_gib"]
        yield Row(f"bulk, {streams} stream(s)", ours, "s CPU/GiB", "splice in C", theirs, 1.25)
        ours, theirs = (1 / rows[name]["gib_per_s"] for name in ("egress relay", "C splice"))
        yield Row(f"bulk, {streams} stream(s)", ours, "s/GiB", "splice in C", theirs, 1.11)
        ours, direct = (1 / rows[name]["gib_per_s"] for name in ("egress relay", "direct"))
        yield Row(f"bulk, {streams} stream(s)", ours, "s/GiB", "no proxy", direct)
    for mode, most in (("tunnel", 1.0), ("http", 0.5)):
        for clients, rows in found.get(mode, {}).items():
            for peer in rows.keys() - {"egress"}:
                yield from _against(
                    f"{mode}, {clients} client(s)", rows["egress"], peer, rows[peer], most
                )
    if "idle_whole" in found:
        yield goal("idle tunnel", found["idle_whole"]["kib_each"], "KiB", 30)
    if "egress_kib" in found:
        yield goal("idle egress", found["egress_kib"] / 1024, "MiB", 35)


def _against(what: str, ours: Figures, peer: str, theirs: Figures, most: float) -> Iterator[Row]:
    """Both programs' time for one, on the clock and on a core, and the slowest hundredth."""
    asked = most if peer == "squid" else None
    yield Row(what, ours["cpu_us"], "us CPU each", peer, theirs["cpu_us"])
    yield Row(what, 1e6 / ours["per_s"], "us each", peer, 1e6 / theirs["per_s"], asked)
    p99 = asked if what.startswith("tunnel") else None
    yield Row(what, ours["p99_us"], "us p99", peer, theirs["p99_us"], p99)


def caller(found: Figures) -> Iterator[Row]:
    yield goal("caller, 3 processes", found["3"]["alone"], "us", 150)
    yield goal("caller, 3 processes, 16 together", found["3"]["of 16 together"], "us", 150)
    yield goal("caller, 100 processes", found["100"]["alone"] / 1e3, "ms", 10)
    few, many = found["kernel"].values()
    yield Row("caller, kernel's part, 4000 sockets", many, "us CPU", "10 sockets", few, 1.25)


def start(found: Figures) -> Iterator[Row]:
    alone = found["exec to first instruction, this machine, ms"]
    podman = found["podman run, whole, bare image, ms"]
    for form, figures in found.items():
        if not isinstance(figures, dict) or "monitor_pss_mib" not in figures:
            continue
        ours = figures["exec to first instruction, ms"]
        for wrapper in ("tini", "bwrap --unshare-net"):
            yield Row(f"{form}: exec to workload", ours, "ms", wrapper, alone[wrapper])
        whole = figures["podman run, whole, ms"]
        yield Row(f"{form}: podman run, whole", whole, "ms", "bare image", podman)
        stages = figures["stages, ms"]
        for stage, took in stages.items():
            yield Row(f"{form}: stage {stage}", took, "ms", "all stages", sum(stages.values()))
        yield goal(f"{form}: the proof", stages["proof"], "ms", 200)
        yield goal(f"{form}: idle monitor", figures["monitor_pss_mib"], "MiB", 20)


BENCHES: dict[str, Callable[[Figures], Iterator[Row]]] = {
    bench.__name__: bench
    for bench in (
        start,
        workspace,
        fence,
        confinement,
        policy,
        decision,
        reload,
        events,
        relay,
        caller,
    )
}


def figures(name: str, peer: str | None) -> Figures | str:
    """What the bench measured, or why it did not."""
    line = [sys.executable, str(HERE / f"bench_{name}.py"), "--json"]
    if name == "relay" and peer:
        line += ["--peer", peer]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip() or "no message").splitlines()[-1]
    found: Figures = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--peer", choices=["mitmproxy"], help="install this, too, and compare")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(BENCHES))
        return 0
    if unknown := set(arguments.names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    failed = 0
    print(f"{'ratio':>8} {'goal':>6}  {'ours':>10} {'measure':>10}  what")
    for name in arguments.names or BENCHES:
        print(f"-- {name}", flush=True)
        found = figures(name, arguments.peer)
        if isinstance(found, str):
            failed += 1
            print(f"   failed: {found}")
            continue
        for row in BENCHES[name](found):
            asked = "" if row.goal is None else f"≤ {row.goal:g}"
            print(
                f"{row.ours / row.theirs:8.2f} {asked:>6}  {row.ours:10.2f} {row.theirs:10.2f}  "
                f"{row.what} [{row.unit}] / {row.measure}"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
