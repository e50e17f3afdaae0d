"""``rootfs add-user ROOT``: write the sandbox account into an unpacked root file system."""

import argparse
import json

from supervisor.errors import Refusal
from supervisor.identity import codes
from supervisor.identity.ids import is_name, parse_id, quote
from supervisor.identity.rootfs import ROOTFS_NAMES, add_user

DEFAULT_NAME = "sandbox"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "add the account to passwd, group, shadow and gshadow"
    add = actions.add_parser("add-user", help=summary, description=summary)
    add.add_argument("root", metavar="ROOT", help="where the root file system was unpacked")
    add.add_argument("--uid", required=True, metavar="N")
    add.add_argument("--gid", required=True, metavar="N")
    add.add_argument("--name", default=DEFAULT_NAME, help=f"default: {DEFAULT_NAME}")
    add.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Add what is missing and say which files changed; a second run changes nothing."""
    uid = parse_id(arguments.uid, "--uid")
    gid = parse_id(arguments.gid, "--gid")
    name = arguments.name
    if not is_name(name):
        raise Refusal(codes.BAD_ID, f"--name is {quote(name)}, not the name of an account")
    written = add_user(arguments.root, name=name, uid=uid, gid=gid).written
    if arguments.json:
        unchanged = [file for file in ROOTFS_NAMES if file not in written]
        print(
            json.dumps(
                {
                    "name": name,
                    "uid": uid,
                    "gid": gid,
                    "written": list(written),
                    "unchanged": unchanged,
                }
            )
        )
    else:
        changed = ", ".join(f"etc/{file}" for file in written) or "nothing, all was there"
        print(f"{name} {uid}:{gid}: written: {changed}")
    return 0
