"""``policy check FILE…``: everything that is wrong with policies, or not enforced."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from supervisor.cli.policy_files import finding_as_dict, read_file

if TYPE_CHECKING:
    from policy.findings import Finding


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="policy file, '-' for stdin")
    parser.epilog = (
        "Exits with 0 where 'run' would accept every file as it is, with 1 where one has errors or "
        "relies on something that is not enforced and that it does not accept."
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every finding of every file."""
    texts = {name: read_file(name) for name in arguments.files}
    files = [_checked(text, name) for name, text in texts.items()]
    if arguments.json:
        print(json.dumps({"files": files}))
    else:
        for file in files:
            _print(file)
    return 0 if all(file["ok"] for file in files) else 1


def _checked(text: bytes, name: str) -> dict[str, Any]:
    from policy.findings import PolicyError
    from policy.load import load

    try:
        policy = load(text, file=name)
    except PolicyError as error:
        findings = [finding_as_dict(finding) for finding in error.findings]
        return {"file": name, "ok": False, "findings": findings}
    open_ends = policy.not_enforced
    findings = [_told(finding, open_ends) for finding in policy.findings]
    return {"file": name, "ok": not open_ends, "findings": findings}


def _told(finding: "Finding", open_ends: "tuple[Finding, ...]") -> dict[str, Any]:
    """The finding; ``accepted`` tells whether the policy itself accepts what is not enforced."""
    told = finding_as_dict(finding)
    if finding.severity == "not-enforced":
        told["accepted"] = finding not in open_ends
    return told


def _print(file: dict[str, Any]) -> None:
    for finding in file["findings"]:
        severity = "accepted" if finding.get("accepted") else finding["severity"]
        where = f" ({finding['path']})" if finding["path"] else ""
        print(
            f"{finding['file']}:{finding['line']}:{finding['column']}: {severity}: "
            f"{finding['message']}{where} [{finding['code']}]"
        )
        if severity != "accepted":
            print(f"  remedy: {finding['remedy']}")
    errors = sum(finding["severity"] == "error" for finding in file["findings"])
    state = "ok" if file["ok"] else "refused" if errors else "not enforced in full"
    print(f"{file['file']}: {state}, {len(file['findings'])} finding(s)")
