"""``status``: the running sandbox's state, its helpers, its policy, and what was denied."""

import argparse
from contextlib import closing

from supervisor.events.denied_summary import DeniedSummary
from supervisor.events.status import status_lines
from supervisor.events.text import as_json
from supervisor.monitor.control_client import ask_events, ask_one, connect
from supervisor.settings import DEFAULT_SHARED

# What fits on a screen; --json has them all.
SHOWN_DENIALS = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--control", help="another supervisor's control socket")
    parser.add_argument(
        "--probe",
        choices=("ready", "live"),
        help="in a pod's sidecar: exit 0 if it serves (or lives), else 1; asks nobody",
    )
    parser.add_argument(
        "--shared", metavar="DIR", default=DEFAULT_SHARED, help="the pod's directory, for --probe"
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


def _probe(arguments: argparse.Namespace) -> int:
    from supervisor.sidecar.beacon import STALE_S, read_beacon

    try:
        serving, age_s = read_beacon(arguments.shared)
    except (OSError, ValueError) as error:
        serving, age_s, cause = False, float("inf"), str(error)
    else:
        cause = f"its last sign is {age_s:.1f} s old"
    live = age_s <= STALE_S
    yes = live and (serving or arguments.probe == "live")
    if arguments.json:
        print(as_json({"live": live, "ready": live and serving, "cause": cause}))
    else:
        print(f"{arguments.probe}: {'yes' if yes else 'no'}; {cause}")
    return 0 if yes else 1
