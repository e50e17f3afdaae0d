"""README repeats what the code decides; here it is made sure that it still does."""

import re
from pathlib import Path

from supervisor.cli.main import COMMANDS
from supervisor.events.event_metrics import EgressMetrics, FenceMetrics, MonitorMetrics
from supervisor.events.probe import Health
from supervisor.events.status import Status
from supervisor.identity import decide
from supervisor.monitor.monitor_metrics import monitor_text

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0].strip()


def test_the_identity_table_is_the_one_of_the_code():
    assert between(README, "<!-- identity -->", "<!-- end identity -->") == between(
        decide.__doc__, "<!-- table -->", "<!-- end -->"
    )


def test_every_command_that_is_named_exists():
    named = set(re.findall(r"sandbox-supervisor ([a-z-]+)", README)) - {"run"}

    assert named
    assert named <= set(COMMANDS) | {"is"}


def test_every_script_and_page_that_is_named_exists():
    root = Path(__file__).resolve().parents[2]
    named = set(re.findall(r"scripts/[a-z]+|images/[a-z]+/Containerfile|policy/README\.md", README))

    assert named
    assert not [path for path in sorted(named) if not (root / path).exists()]


def test_the_metrics_that_are_named_are_those_there_are():
    text = between(README, "| metric | labels |", "The socket is root's alone")
    named = set()
    for cell in re.findall(r"^\| (.*?) \|", text, re.MULTILINE):
        names = re.findall(r"`([a-z_]+)`", cell)
        for name in names:
            prefix = re.match(r"sandbox_(?:egress|fence|helper|records|process)", names[0])
            named.add(name if name.startswith("sandbox_") else prefix[0] + name)

    assert named == {line.split()[2] for line in all_metrics() if line.startswith("# TYPE")}


def all_metrics():
    status = Status(
        state="running",
        health=Health(alive=True, ready=True),
        workload_pid=1,
        started=0.0,
        policy_generation=0,
        helpers=(),
        tunnels=0,
        records=0,
        forgotten=0,
        dropped=0,
    )
    return (
        monitor_text(MonitorMetrics(), status, records={})
        + EgressMetrics().text(tunnels=0, sessions=0, names_given=0)
        + FenceMetrics().text(overruns=0)
    ).splitlines()
