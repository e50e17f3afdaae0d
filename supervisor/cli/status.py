"""``status``: the running sandbox's state, its helpers, its policy, and what was denied."""

import argparse
from contextlib import closing
from typing import NamedTuple

from supervisor.errors import Refusal
from supervisor.events.denied_summary import DeniedSummary
from supervisor.events.status import status_lines
from supervisor.events.text import as_json
from supervisor.monitor.control_client import ask_events, ask_one, connect
from supervisor.settings import DEFAULT_SHARED

# What fits on a screen; --json has them all.
SHOWN_DENIALS = 10
# A probe's own patience is some seconds (ours in manifests: 5).
PROBE_S = 4.0
REFUSED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--control", help="another supervisor's control socket")
    parser.add_argument(
        "--probe",
        choices=("ready", "live"),
        help="exit 0 if everything serves (or lives), else 1",
    )
    parser.add_argument(
        "--shared", metavar="DIR", default=DEFAULT_SHARED, help="the pod's directory, if any"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask for the state and the kept denials, print both; or answer a probe."""
    if arguments.probe is not None:
        return _probe(arguments)
    with closing(connect(arguments.control)) as sock:
        status = ask_one(sock, {"ask": "status"})
    summary = DeniedSummary()
    with closing(connect(arguments.control)) as sock:
        for record in ask_events(sock, denied=True, follow=False):
            summary.add(record)
    denials = summary.most_frequent()
    if arguments.json:
        print(as_json({**status, "denials": [one.as_dict() for one in denials]}))
        return 0
    for line in status_lines(status):
        print(line)
    if denials:
        print("denied")
    for one in denials[:SHOWN_DENIALS]:
        print(one.line())
    if len(denials) > SHOWN_DENIALS:
        print(f"{len(denials) - SHOWN_DENIALS:>6}  more: events --denied")
    return 0


class Answer(NamedTuple):
    """To a probe; ``cause`` is what is known beyond yes and no."""

    live: bool
    ready: bool
    cause: str


def _probe(arguments: argparse.Namespace) -> int:
    answer = _from_beacon(arguments.shared) or _from_monitor(arguments.control)
    yes = answer.live and (answer.ready or arguments.probe == "live")
    if arguments.json:
        print(as_json(answer._asdict()))
    else:
        print("; ".join((f"{arguments.probe}: {'yes' if yes else 'no'}", answer.cause)).strip("; "))
    return 0 if yes else REFUSED


def _from_beacon(shared: str) -> Answer | None:
    """In a sidecar's container; None where there is no sidecar, or where its sign is not for us."""
    from supervisor.sidecar.beacon import STALE_S, read_beacon

    try:
        serving, age_s = read_beacon(shared)
    except OSError:
        return None
    except ValueError as error:
        return Answer(live=False, ready=False, cause=str(error))
    live = age_s <= STALE_S
    return Answer(live=live, ready=live and serving, cause=f"its last sign is {age_s:.1f} s old")


def _from_monitor(control: str | None) -> Answer:
    try:
        with closing(connect(control)) as sock:
            sock.settimeout(PROBE_S)
            status = ask_one(sock, {"ask": "status"})
    except Refusal as refusal:
        return Answer(live=False, ready=False, cause=refusal.cause)
    return Answer(
        live=status.get("alive") is True,
        ready=status.get("ready") is True,
        cause=str(status.get("why_not", "")),
    )
