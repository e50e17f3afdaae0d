"""What confinement costs: importing and assembling, installing, each system call, each open.

Run as root on a quiet machine: ``python scripts/bench_confinement.py [--json]``. Each figure is the
best of several rounds in a fresh child; "bare" is the same child without the filter or domain.
"""

import argparse
import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from support.confined import become_workload, ruleset  # noqa: E402
from support.forked import in_child  # noqa: E402

from supervisor.kernel import filters, landlock, seccomp  # noqa: E402
from supervisor.kernel.seccomp_table.machines import this_machine  # noqa: E402
from supervisor.kernel.seccomp_table.numbers import NUMBERS  # noqa: E402

ROUNDS = 7
CALLS = 100_000
OPENS = 10_000
KEYCTL = NUMBERS["keyctl"][this_machine().column]
IMPORTS = (
    "supervisor.kernel.seccomp",
    "supervisor.kernel.filters",
    "supervisor.kernel.landlock",
    "supervisor.startup.landlock_ruleset",
)


def best(measure, rounds=ROUNDS):
    return min(measure() for _ in range(rounds))


def per_call_ns(call, count):
    def once():
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        return (time.perf_counter_ns() - start) / count

    return best(once)


def microseconds(action):
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1000


def system_calls():
    """Nanoseconds of calls that the kernel's bitmap, the search, and an argument decide."""
    libc = ctypes.CDLL(None)
    pair = socket.socketpair()[0]
    terminal = pair.fileno()
    return {
        "getppid (always allowed)": per_call_ns(os.getppid, CALLS),
        "ioctl (argument)": per_call_ns(lambda: libc.ioctl(terminal, 0x541B, 0), CALLS // 4),
        "keyctl (refused)": per_call_ns(lambda: libc.syscall(KEYCTL, -1, 0, 0, 0, 0), CALLS // 4),
        "unshare(0) (argument)": per_call_ns(lambda: libc.unshare(0), CALLS // 4),
    }


def opens():
    def read():
        os.close(os.open("/usr/lib/os-release", os.O_RDONLY))

    def deep():
        os.close(os.open("/usr/share/doc/libc6/copyright", os.O_RDONLY))

    return {"open + close": per_call_ns(read, OPENS), "deeper": per_call_ns(deep, OPENS)}


def bare(measure):
    def child():
        become_workload()
        return measure()

    return in_child(child)


def filtered(measure):
    def child():
        become_workload()
        seccomp.install(filters.workload(filters.Toggles()))
        return measure()

    return in_child(child)


def restricted(measure):
    rules = ruleset(read_write=["/tmp"])

    def child():
        become_workload()
        landlock.restrict_self(rules)
        return measure()

    try:
        return in_child(child)
    finally:
        os.close(rules)


def assembling():
    toggles = filters.Toggles()
    programs = {
        "workload": lambda: filters.workload(toggles),
        "monitor": lambda: filters.monitor(toggles),
        "egress": filters.egress,
    }
    return {
        name: {
            "assemble_us": best(lambda make=make: microseconds(make)),
            "instructions": len(make()) // seccomp.INSTRUCTION_SIZE,
        }
        for name, make in programs.items()
    }


def installing():
    def install():
        become_workload()
        program = filters.workload(filters.Toggles())
        return microseconds(lambda: seccomp.install(program))

    def restrict():
        rules = ruleset(read_write=["/tmp"])
        become_workload()
        return microseconds(lambda: landlock.restrict_self(rules))

    def prepare():
        return microseconds(lambda: os.close(ruleset(read_write=["/tmp"])))

    return {
        "seccomp_us": best(lambda: in_child(install)),
        "landlock_us": best(lambda: in_child(restrict)),
        "opening the paths_us": best(lambda: in_child(prepare)),
    }


def importing():
    """Milliseconds to import each module in a fresh isolated interpreter, over a bare one."""
    root = str(Path(__file__).parent.parent)

    def start(code):
        def once():
            begin = time.perf_counter_ns()
            subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
            return (time.perf_counter_ns() - begin) / 1e6

        return best(once)

    path = f"import sys; sys.path.insert(0, {root!r}); import os, ctypes, typing"
    nothing = start(path)
    return {name: start(f"{path}; import {name}") - nothing for name in IMPORTS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {
        "import_ms": importing(),
        "assemble": assembling(),
        "install": installing(),
        "call_ns": {"bare": bare(system_calls), "filtered": filtered(system_calls)},
        "open_ns": {"bare": bare(opens), "restricted": restricted(opens)},
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for section, rows in figures.items():
        print(section)
        for name, value in rows.items():
            print(f"  {name:40} {value if isinstance(value, dict) else round(value, 2)}")


if __name__ == "__main__":
    main()
