"""``policy …``: the policy laboratory, offline: check, explain, test, diff, show, schema.

Exit status: 0 fine, 1 findings or a denial, 2 wrong usage, or a file that cannot be used.
"""

import argparse
import importlib
from typing import TYPE_CHECKING, cast

from supervisor.errors import Refusal

if TYPE_CHECKING:
    from supervisor.cli.main import Command

# name -> one line for --help; the module is supervisor.cli.policy_NAME.
COMMANDS = {
    "check": "report everything that is wrong with policies, or not enforced",
    "explain": "would this connection or request be allowed, and what would have to change",
    "test": "run the expectations written beside a policy",
    "diff": "what becomes allowed and what becomes denied between two policies",
    "show": "a policy with defaults and presets written out, each line with its origin",
    "schema": "the JSON Schema of the policy document, for editors",
}
UNUSABLE = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands; each module is small and imports the policy late."""
    commands = parser.add_subparsers(dest="policy_command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        _load(name).configure(sub)


def run(arguments: argparse.Namespace) -> int:
    """Run one subcommand; a file that cannot be used is wrong usage, not a finding."""
    try:
        return _load(arguments.policy_command).run(arguments)
    except Refusal as refusal:
        from supervisor.cli.main import report

        report(refusal, as_json=arguments.json)
        return UNUSABLE


def _load(name: str) -> "Command":
    return cast("Command", importlib.import_module(f"supervisor.cli.policy_{name}"))
