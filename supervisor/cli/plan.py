"""``plan``: what ``run`` would do here, step by step, and why; changes nothing."""

import argparse
import json

from supervisor.cli import run_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: those of ``run``, and --json."""
    parser.add_argument("--json", action="store_true")
    run_arguments.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; exit 1 with the refusal where ``run`` would refuse."""
    from supervisor.startup.prepare import prepare
    from supervisor.startup.stages import Stages

    plan = prepare(run_arguments.settings_from(arguments), Stages()).plan
    identity = plan.identity
    if arguments.json:
        steps = [
            {"step": type(step).__name__, "does": line}
            for step in plan.steps
            for line in step.describe()
        ]
        who = {"user": identity.user, "uid": identity.uid, "gid": identity.gid}
        document = {
            "identity": {**who, "groups": identity.groups, "sources": dict(identity.sources)},
            "policy": plan.policy.file,
            "steps": steps,
            "warnings": plan.warnings,
            "withheld": plan.withheld,
            "degraded": [item.control for item in plan.degraded],
        }
        print(json.dumps(document))
        return 0
    print(f"identity: {identity.user} ({identity.uid}:{identity.gid}); policy: {plan.policy.file}")
    for number, step in enumerate(plan.steps, 1):
        for line in step.describe():
            print(f"{number}. {line}")
    for warning in plan.warnings:
        print(f"warning: {warning}")
    for item in plan.degraded:
        print(f"absent: {item.control}: {item.cause} (allowed by {item.allowed_by})")
    return 0
