"""``install DEST``: copy the self-contained runtime into a volume."""

import argparse
import dataclasses
import json

from supervisor.errors import Refusal
from supervisor.install import codes
from supervisor.install.runtime import install
from supervisor.settings import is_launched, runtime_tree


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("destination", metavar="DEST", help="a directory; made if it is missing")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Copy, and print the digest; a second run changes nothing."""
    if not is_launched():
        raise Refusal(codes.NOT_A_RUNTIME, f"{runtime_tree()} is a developer's checkout")
    installed = install(runtime_tree(), arguments.destination)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(installed)))
    else:
        what = "installed" if installed.copied else "was there"
        print(f"sha256:{installed.digest} {installed.destination}: {installed.files} files, {what}")
    return 0
