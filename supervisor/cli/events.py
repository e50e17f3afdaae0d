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
from supervisor.monitor.control_client import ask_events, connect


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--follow", action="store_true", help="go on with what happens from now")
    parser.add_argument("--denied", action="store_true", help="only what was refused or audited")
    parser.add_argument("--json", action="store_true", help="one OCSF record on each line")
    parser.add_argument("--control", help="another supervisor's control socket")


def run(arguments: argparse.Namespace) -> int:
    """Print record after record; ends with the sandbox, an interrupt, or a closed pipe."""
    try:
        with closing(connect(arguments.control)) as sock:
            for record in ask_events(sock, denied=arguments.denied, follow=arguments.follow):
                print(_line(record, as_json_line=arguments.json), flush=True)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _line(record: dict[str, Any], *, as_json_line: bool) -> str:
    try:
        return as_json(record) if as_json_line else line_of(record)
    except (ValueError, RecursionError) as error:
        raise Refusal(control_codes.PROTOCOL, f"a record that is none: {error}") from error
