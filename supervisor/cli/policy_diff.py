"""``policy diff OLD NEW``: what becomes allowed, what becomes denied, what needs a restart."""

import argparse
import json
from typing import TYPE_CHECKING

from supervisor.cli.policy_files import load_policy

if TYPE_CHECKING:
    from policy.diff import Change


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", metavar="OLD", help="policy file")
    parser.add_argument("new", metavar="NEW", help="policy file")
    parser.epilog = "Exits with 0 where nothing changes, with 1 where something does."


def run(arguments: argparse.Namespace) -> int:
    """Print the consequences of replacing OLD by NEW."""
    from policy.diff import difference

    found = difference(load_policy(arguments.old), load_policy(arguments.new))
    if arguments.json:
        told = {
            "allowed": [change.as_dict() for change in found.allowed],
            "denied": [change.as_dict() for change in found.denied],
            "handled": [change.as_dict() for change in found.handled],
            "restart": list(found.restart),
            "cut": found.is_cut,
        }
        print(json.dumps(told))
        return 0 if found.is_empty else 1
    _print_changes("becomes allowed", found.allowed)
    _print_changes("becomes denied", found.denied)
    _print_changes("stays allowed, handled otherwise", found.handled)
    for statement in found.restart:
        print(f"needs a restart: {statement}")
    if found.is_cut:
        print("cut: the policies are too large to compare in full")
    if found.is_empty:
        print("no difference in effect")
    return 0 if found.is_empty else 1


def _print_changes(title: str, changes: "tuple[Change, ...]") -> None:
    for change in changes:
        told = "" if title.startswith("becomes") else f": {change.old} -> {change.new}"
        print(f"{title}: {change.what} by {change.binary}{told} ({change.origin})")
