"""How long a start takes: from exec of the entrypoint to the workload's first instruction.

Run as root: ``python scripts/bench_start.py [--json] [--rounds N]``. Against tini and bwrap on this
machine, and ``podman run`` of the bare image. Also what the monitor costs: processor time of the
start, memory while idle, and the share of each stage. Medians; the machine should be quiet.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

import psutil  # noqa: E402
from support.attack_forms import NAMES, Form, forms  # noqa: E402
from support.podman import Result, run  # noqa: E402
from support.records import events_of  # noqa: E402
from support.sandbox import (  # noqa: E402
    DEBIAN,
    ENTRYPOINT,
    command_line,
    mounts,
    sandbox,
    wait_for,
)

ROUNDS = 7
STAMP = "/opt/bench/stamp"


def stamps(text):
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("STAMP")]


def between(text):
    """Milliseconds between the first stamp and the last."""
    found = stamps(text)
    assert len(found) >= 2, text
    return (found[-1] - found[0]) / 1e6


def on_this_machine(stamp, *wrapper):
    line = [stamp, *wrapper, stamp]
    return between(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def in_container(form: Form, place: Path) -> tuple[float, float, Result]:
    """From exec of the entrypoint, and from podman's start, to the workload's first instruction."""
    supervisor = command_line(
        STAMP, verb="run", identity=form.identity, arguments=form.arguments, log=True
    )
    begin = time.monotonic_ns()
    result = run(
        DEBIAN,
        *form.options,
        f"--volume={place}:/opt/bench:ro",
        entrypoint=STAMP,
        command=[ENTRYPOINT, *supervisor],
        mounts=mounts(),
    ).checked()
    return between(result.stdout), (stamps(result.stdout)[-1] - begin) / 1e6, result


def bare_podman(place: Path) -> float:
    begin = time.monotonic_ns()
    result = run(DEBIAN, f"--volume={place}:/opt/bench:ro", entrypoint=STAMP).checked()
    return (stamps(result.stdout)[-1] - begin) / 1e6


def stages_of(result: Result) -> dict[str, float]:
    started = next(one for one in events_of(result.stderr) if one["event"] == "sandbox.started")
    return started["report"]["stages_ms"]


def cost(form: Form) -> dict[str, float]:
    """Processor time of the start, and memory while the workload sleeps."""
    with sandbox(
        "sh", "-c", "echo ready; sleep 300",
        options=form.options, arguments=form.arguments, identity=form.identity,
    ) as container:  # fmt: skip
        wait_for(container, "ready")
        container.exec(ENTRYPOINT, "report").checked()  # the start is over when it answers
        monitor = psutil.Process(container.host_pid())
        times = monitor.cpu_times()
        ours = [
            monitor,
            *(one for one in monitor.children() if "python3.elf" in str(one.cmdline())),
        ]
        memory = [process.memory_full_info() for process in ours]
        return {
            "cpu_ms": 1000
            * (times.user + times.system + times.children_user + times.children_system),
            "monitor_pss_mib": memory[0].pss / 2**20,
            "all_ours_pss_mib": sum(one.pss for one in memory) / 2**20,
            "monitor_uss_mib": memory[0].uss / 2**20,
        }


def median(measure, rounds):
    return round(statistics.median(measure() for _ in range(rounds)), 1)


def measure(rounds: int) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory(prefix="sandbox-test-", dir="/var/tmp") as made,
        forms() as known,
    ):
        place = Path(made)
        place.chmod(0o755)
        stamp = place / "stamp"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-static", "-O1", "-o", stamp, source], check=True)
        wrappers = {
            "nothing": (),
            "tini": ("tini", "-s", "--"),
            "bwrap --unshare-net": ("bwrap", "--unshare-net", "--dev-bind", "/", "/"),
        }
        found: dict[str, object] = {
            "exec to first instruction, this machine, ms": {
                wrapped: median(lambda w=wrapper: on_this_machine(str(stamp), *w), rounds)
                for wrapped, wrapper in wrappers.items()
            },
            "podman run, whole, bare image, ms": median(lambda: bare_podman(place), rounds),
        }
        for name in NAMES:
            runs = [in_container(known[name], place) for _ in range(rounds)]
            stages = [stages_of(result) for _, _, result in runs]
            found[name] = {
                "exec to first instruction, ms": round(statistics.median(r[0] for r in runs), 1),
                "podman run, whole, ms": round(statistics.median(r[1] for r in runs), 1),
                "stages, ms": {
                    stage: round(statistics.median(one[stage] for one in stages), 1)
                    for stage in stages[0]
                },
                **{key: round(value, 1) for key, value in cost(known[name]).items()},
            }
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rounds), indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
