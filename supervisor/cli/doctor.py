"""``doctor``: what this kernel and container allow, what is missing, how to get it."""

import argparse
import json
from dataclasses import asdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--in-sandbox",
        action="store_true",
        help="prove again what contains the sandbox that runs in this container",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every check; exit 1 when something that a start needs is missing."""
    if arguments.in_sandbox:
        from supervisor.cli import report

        return report.run(argparse.Namespace(json=arguments.json, prove=True, schema=False))
    from supervisor.startup.doctor import diagnose
    from supervisor.startup.facts import gather

    checks = list(diagnose(gather()))
    if arguments.json:
        print(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            print(f"{check.found:<8} {check.name:<21} {check.detail}")
            if check.remedy:
                print(f"{'':<8} {'':<21} → {check.remedy}")
    return 1 if any(check.found == "missing" for check in checks) else 0
