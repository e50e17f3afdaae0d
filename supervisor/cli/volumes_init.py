"""``volumes-init``: make the volumes of a pod usable for the workload."""

import argparse
import json

from supervisor.identity.ids import parse_id
from supervisor.install.volumes import prepare_volumes
from supervisor.workspace.plan import Owner


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--uid", required=True, metavar="N", help="of the workload")
    parser.add_argument("--gid", required=True, metavar="N", help="of the workload")
    parser.add_argument(
        "--workdir", metavar="DIR", help="give it to the workload, with its content"
    )
    parser.add_argument("scratch", nargs="*", metavar="DIR", help="let everybody write into it")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Prepare, and say what was done."""
    owner = Owner(uid=parse_id(arguments.uid, "--uid"), gid=parse_id(arguments.gid, "--gid"))
    report = prepare_volumes(owner, workdir=arguments.workdir, scratch=arguments.scratch)
    workspace = {} if report is None else report.as_dict()
    if arguments.json:
        print(json.dumps({"scratch": arguments.scratch, "workspace": workspace}))
    else:
        entries = "" if report is None else f"; {arguments.workdir}: {report.changed} entries"
        print(f"scratch: {', '.join(arguments.scratch) or 'none'}{entries}")
    return 0
