"""``policy schema``: the JSON Schema of the policy document, for editors."""

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; ``--json`` prints the schema on one line."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    from policy.schema import json_schema

    print(json.dumps(json_schema(), indent=None if arguments.json else 2))
    return 0
