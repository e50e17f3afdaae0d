"""``seed SOURCE DEST``: copy the image's work directory into an empty volume, once."""

import argparse
import json

from supervisor.install.seed import seed

SHOWN = 10  # of the special files that were left out


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a directory of the image; without it nothing is done"
    )
    parser.add_argument("destination", metavar="DEST", help="where the volume is mounted")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Copy, and say what was done."""
    done = seed(arguments.source, arguments.destination)
    if arguments.json:
        fields: dict[str, object] = {"seeded": done is not None}
        if done is not None:
            left_out = done.left_out[:SHOWN]
            fields |= {"copied": done.copied, "kept": done.kept, "left_out": left_out}
        print(json.dumps(fields))
    elif done is None:
        print(f"{arguments.destination}: was seeded before")
    else:
        print(f"{arguments.destination}: {done.copied} copied, {done.kept} were there")
        for path in done.left_out[:SHOWN]:
            print(f"left out, neither file nor directory nor link: {path!a}")
    return 0
