"""``policy show FILE``: a policy with defaults and presets written out, each line with its origin."""

import argparse
import json

from supervisor.cli.policy_files import load_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="policy file, '-' for stdin")


def run(arguments: argparse.Namespace) -> int:
    """Print the policy as YAML (which loads again) or as JSON."""
    from policy.show import as_yaml, document_of, plain

    shown = document_of(load_policy(arguments.file))
    if arguments.json:
        print(json.dumps(plain(shown)))
    else:
        print(as_yaml(shown), end="")
    return 0
