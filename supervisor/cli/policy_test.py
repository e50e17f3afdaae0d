"""``policy test FILE…``: run the expectations written beside a policy."""

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from supervisor.cli.policy_files import loaded, read_file, refused

if TYPE_CHECKING:
    from policy.expectations import Outcome, Suite
    from policy.model import Policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="file of expectations")
    parser.add_argument("--verbose", action="store_true", help="list the passed ones as well")
    parser.epilog = "Exits with 0 where every expectation holds, with 1 where one does not."


def run(arguments: argparse.Namespace) -> int:
    """Run every expectation of every file; print those that do not hold."""
    results = [(name, outcome) for name in arguments.files for outcome in _outcomes(name)]
    failed = [(name, outcome) for name, outcome in results if not outcome.passed]
    if arguments.json:
        told = [{"file": name, **_as_dict(outcome)} for name, outcome in results]
        print(json.dumps({"tests": told, "passed": len(results) - len(failed)}))
    else:
        for name, outcome in results if arguments.verbose else failed:
            print(_as_text(name, outcome))
        print(f"{len(results) - len(failed)} of {len(results)} expectations hold")
    return 1 if failed else 0


def _outcomes(name: str) -> "list[Outcome]":
    from policy.expectations import check, read_expectations
    from policy.findings import PolicyError
    from policy.index import compile_policy

    try:
        suite = read_expectations(read_file(name), file=name)
    except PolicyError as error:
        raise refused(error.findings, name) from error
    index = compile_policy(_policy(suite, name))
    return [check(index, expectation) for expectation in suite.expectations]


def _policy(suite: "Suite", name: str) -> "Policy":
    if suite.preset is not None:
        from policy.presets import text_of

        return loaded(text_of(suite.preset), f"preset:{suite.preset}")
    path = os.path.join(os.path.dirname(name), suite.policy or "")
    return loaded(read_file(path), path)


def _as_dict(outcome: "Outcome") -> dict[str, Any]:
    expectation = outcome.expectation
    return {
        "line": expectation.origin.line,
        "name": expectation.name,
        "passed": outcome.passed,
        "expected": {"verdict": expectation.expected, "code": expectation.code},
        "got": outcome.answer.as_dict(),
    }


def _as_text(name: str, outcome: "Outcome") -> str:
    wanted, got = outcome.expectation, outcome.answer
    head = f"{name}:{wanted.origin.line}: {wanted.name}"
    if outcome.passed:
        return f"{head}: holds"
    code = f" [{wanted.code}]" if wanted.code else ""
    lines = [
        f"{head}: FAILED",
        f"  expected: {wanted.expected}{code}",
        f"  got:      {got.verdict} [{got.code.name}] {got.cause}",
    ]
    if (rule := got.explanation.decision.rule) is not None:
        lines.append(f"  rule:     {rule.path} at {rule.origin}")
    return "\n".join(lines)
