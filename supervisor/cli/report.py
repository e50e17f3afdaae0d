"""``report``: the containment report of the sandbox, or the sidecar, that runs in this container."""

import argparse
import json
import os
from collections.abc import Iterator

from supervisor import startup
from supervisor.errors import Refusal

SCHEMA = os.path.join(os.path.dirname(startup.__file__), "report.schema.json")
DEADLINE_S = 30.0  # the proof takes a tenth of a second; its own deadlines are shorter


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of --json")
    parser.add_argument("--prove", action="store_true", help="make the proof again, now")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; exit 1 where the proof had a surprise."""
    from supervisor.startup.report import table

    if arguments.schema:
        with open(SCHEMA, encoding="utf-8") as file:
            print(file.read(), end="")
        return 0
    report = ask_running(prove=arguments.prove)
    if report.get("role") == "sidecar":
        print(json.dumps(report) if arguments.json else "\n".join(_facts(report)))
        return 0
    print(json.dumps(report) if arguments.json else table(report))
    proof = report["proof"]
    return 1 if isinstance(proof, dict) and proof["surprises"] else 0


def _facts(report: dict[str, object]) -> Iterator[str]:
    """A sidecar's report for people: it has no workload and no proof of its own."""
    for name, value in report.items():
        for one in value if isinstance(value, list) and value else [value]:
            yield f"{name:<12} {one if isinstance(one, str | int | float) else json.dumps(one)}"


def ask_running(*, prove: bool) -> dict[str, object]:
    """Ask the supervisor of this container. Raises Refusal."""
    from supervisor.startup import codes
    from supervisor.startup.inquiry import PROVE, REPORT, ask

    try:
        answer = ask(PROVE if prove else REPORT, DEADLINE_S)
    except (OSError, ValueError) as error:
        raise Refusal(codes.NO_SANDBOX, str(error)) from error
    match answer:
        case {"error": {"code": str(code), "cause": str(cause)}}:
            raise Refusal(codes.PROOF_FAILED, f"{code}: {cause}")
        case dict() if answer.get("role") == "sidecar" or {"controls", "proof"} <= answer.keys():
            return answer
        case _:
            raise Refusal(codes.NO_SANDBOX, "the answer is no report")
