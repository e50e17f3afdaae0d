"""``policy explain FILE``: would this be allowed, by which rule, and what would have to change."""

import argparse
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from supervisor.cli import codes
from supervisor.cli.policy_files import finding_as_dict, load_policy
from supervisor.errors import Refusal

if TYPE_CHECKING:
    from policy.answer import Intent
    from policy.host import Address


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="policy file, '-' for stdin")
    parser.add_argument("--host", required=True, help="the host that is asked for")
    parser.add_argument("--port", required=True, type=int, help="the port")
    parser.add_argument("--binary", help="path of the program that asks")
    parser.add_argument(
        "--ancestor", action="append", default=[], help="path of a parent program (repeatable)"
    )
    parser.add_argument(
        "--resolves",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="judge this address of the host as well (repeatable)",
    )
    parser.add_argument("--method", help="HTTP method; asks about a request, not the connection")
    parser.add_argument("--path", help="its path")
    parser.add_argument(
        "--query", action="append", default=[], metavar="KEY=VALUE", help="its query (repeatable)"
    )
    parser.epilog = "Exits with 0 where it would be allowed (or only audited), with 1 where denied."


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict."""
    from policy.answer import answer
    from policy.index import compile_policy

    intent, addresses = _intent(arguments), _addresses(arguments.resolves)
    policy = load_policy(arguments.file)
    got = answer(compile_policy(policy), intent, resolves=addresses)
    told = got.as_dict()
    told["not_enforced"] = [finding_as_dict(finding) for finding in policy.not_enforced]
    if arguments.json:
        print(json.dumps(told))
    else:
        print(_as_text(told))
    return 1 if got.verdict == "deny" else 0


def _intent(arguments: argparse.Namespace) -> "Intent":
    from policy.intent import ConnectionIntent, RequestIntent

    connection = ConnectionIntent(
        host=arguments.host,
        port=arguments.port,
        binary=arguments.binary,
        ancestors=tuple(arguments.ancestor),
    )
    if arguments.method is None and arguments.path is None and not arguments.query:
        return connection
    if arguments.method is None or arguments.path is None:
        raise Refusal(codes.ARGUMENTS, "a request needs --method and --path")
    pairs = [(key, value) for key, _, value in (it.partition("=") for it in arguments.query)]
    return RequestIntent(
        connection=connection,
        method=arguments.method,
        path=arguments.path,
        query=urlencode(pairs),
    )


def _addresses(texts: list[str]) -> "tuple[Address, ...]":
    import ipaddress

    try:
        return tuple(ipaddress.ip_address(text) for text in texts)
    except ValueError as error:
        raise Refusal(codes.ARGUMENTS, f"--resolves: {error}") from error


def _as_text(told: dict[str, Any]) -> str:
    lines = [f"{told['verdict']}: {told['cause']} [{told['code']}]"]
    if (rule := told["rule"]) is not None:
        lines.append(f"  rule:   {rule['path']} at {rule['file']}:{rule['line']}:{rule['column']}")
    if (suggestion := told["suggestion"]) is not None:
        lines.append(f"  change: {suggestion['text']}")
        if suggestion.get("value") is not None:
            place = f"{suggestion['path']}: " if suggestion.get("path") else ""
            lines.append(f"          {place}{json.dumps(suggestion['value'])}")
    if (connection := told["connection"]) is not None:
        lines.append(
            f"  then:   addresses: {connection['addresses']}, tls: {connection['tls']}, "
            f"inspected: {', '.join(connection['inspect']) or 'no'}"
        )
    if count := len(told["not_enforced"]):
        lines.append(f"  note:   {count} statement(s) of the policy are not enforced: policy check")
    return "\n".join(lines)
