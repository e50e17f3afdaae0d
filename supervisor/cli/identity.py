"""``identity``: who the workload would be, and which input decided."""

import argparse
import json
import sys

from supervisor.identity.account_files import read_accounts
from supervisor.identity.decide import Identity, decide
from supervisor.identity.inputs import (
    IdentityInputs,
    inputs_from_environment,
    own_ids,
    with_arguments,
)
from supervisor.identity.mapped import check_identity_mapped
from supervisor.settings import container_environment

FIELDS = ("uid", "gid", "groups", "user", "home", "shell")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_identity_arguments(parser)
    parser.add_argument(
        "--root", default="/", metavar="DIR", help="read DIR/etc/passwd and DIR/etc/group"
    )
    parser.add_argument("--json", action="store_true")


def add_identity_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``run`` and ``identity`` have in common."""
    parser.add_argument("--uid", metavar="ID", help="user of the workload: number or name")
    parser.add_argument("--gid", metavar="ID", help="group of the workload: number or name")
    parser.add_argument(
        "--groups", metavar="LIST", help="supplementary groups, comma-separated; '' means none"
    )


def identity_inputs(arguments: argparse.Namespace) -> IdentityInputs:
    """Command line, environment and this process; the policy is the caller's to add.

    Raises Refusal ``identity.conflict``, ``identity.mixed-process-ids``.
    """
    return with_arguments(
        inputs_from_environment(container_environment()),
        uid=arguments.uid,
        gid=arguments.gid,
        groups=arguments.groups,
        process=own_ids(),
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the identity; warnings go to stderr."""
    identity = decide(identity_inputs(arguments), read_accounts(arguments.root))
    check_identity_mapped(identity)
    print(as_json(identity) if arguments.json else as_table(identity))
    for warning in identity.warnings:
        print(f"sandbox-supervisor: warning: {warning}", file=sys.stderr)
    return 0


def as_json(identity: Identity) -> str:
    """One object: the fields, and ``sources``, the input that decided each."""
    fields = {name: getattr(identity, name) for name in FIELDS}
    return json.dumps({**fields, "sources": dict(identity.sources)})


def as_table(identity: Identity) -> str:
    """One line per field: name, value, the input that decided it."""
    rows = [(name, _shown(getattr(identity, name)), identity.sources[name]) for name in FIELDS]
    width = max(len(value) for _, value, _ in rows)
    return "\n".join(f"{name:<7} {value:<{width}}  ({source})" for name, value, source in rows)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(number) for number in value) or "none"
    return str(value)
