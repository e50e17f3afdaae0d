"""``events``: the records of the running sandbox, the kept ones and, with --follow, the new ones."""

import argparse
import os
import sys
from contextlib import closing
from typing import Any

from supervisor.errors import Refusal
from supervisor.events.line import line_of
from supervisor.events.text import as_json
from supervisor.monitor import control_codes
from supervisor.monitor.control_client import CONTROL_SOCKET, ask, connect


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--follow", action="store_true", help="go on with what happens from now")
    parser.add_argument("--denied", action="store_true", help="only what was refused or audited")
    parser.add_argument("--json", action="store_true", help="one OCSF record on each line")
    parser.add_argument("--control", default=CONTROL_SOCKET, help="the supervisor's control socket")


def run(arguments: argparse.Namespace) -> int:
    """Print record after record; ends with the sandbox, an interrupt, or a closed pipe."""
    request: dict[str, object] = {
        "ask": "events",
        "denied": arguments.denied,
        "follow": arguments.follow,
    }
    try:
        with closing(connect(arguments.control)) as sock:
            for answer in ask(sock, request):
                _show(answer, as_json_lines=arguments.json)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _show(answer: dict[str, Any], *, as_json_lines: bool) -> None:
    cut, record = answer.get("cut"), answer.get("event")
    if cut is not None:
        missed = cut.get("missed") if isinstance(cut, dict) else cut
        raise Refusal(control_codes.CUT, f"{missed} records were missed")
    if isinstance(record, dict):
        try:
            line = as_json(record) if as_json_lines else line_of(record)
        except (ValueError, RecursionError) as error:
            raise Refusal(control_codes.PROTOCOL, f"a record that is none: {error}") from error
        print(line, flush=True)
