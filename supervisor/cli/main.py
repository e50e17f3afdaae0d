"""``sandbox-supervisor COMMAND``: find the command, import only its file, turn errors into exits.

Each command is a module with ``configure(parser)`` and ``run(arguments) -> exit status``.
"""

import argparse
import importlib
import json
import os
import signal
import sys
from typing import NoReturn, Protocol, cast

from supervisor.cli.codes import INTERNAL_ERROR
from supervisor.errors import Refusal, words_of

# name -> (module below supervisor.cli, one line for --help). The lines stand here so that
# --help imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "start a workload confined, and watch it to its end"),
    "net-init": ("net_init", "fence a pod's network namespace, and leave (init container)"),
    "sidecar": ("sidecar", "serve the network of a fenced pod (beside the agent's container)"),
    "doctor": ("doctor", "what this kernel and container allow, and what is missing"),
    "report": ("report", "the containment report of the sandbox that runs here; --prove"),
    "plan": ("plan", "what run would do here, step by step; changes nothing"),
    "identity": ("identity", "who the workload would be, and which input decided"),
    "rootfs": ("rootfs", "write the sandbox account into an unpacked root file system"),
    "install": ("install", "copy the self-contained runtime into a volume"),
    "volumes-init": ("volumes_init", "make the volumes of a pod usable for the workload"),
    "seed": ("seed", "copy the image's work directory into an empty volume, once"),
    "manifest": ("manifest", "write the pod for Kubernetes and podman kube play"),
    "policy": ("policy", "the policy laboratory: check, explain, test, diff, show, schema"),
    "events": ("events", "the event stream of the running sandbox: --follow, --denied"),
    "status": ("status", "the running sandbox: helpers, policy, what was denied"),
    "explain": ("explain", "what a reason code means and what helps"),
}
# Commands that supervise: the signals that the launcher blocked stay blocked for them.
SUPERVISING = frozenset({"run", "net-init", "sidecar"})
USAGE_ERROR = 2
REFUSED = 1
FAILED = 125  # of a command that supervises: nothing of the workload runs


class Command(Protocol):
    """What a module below ``supervisor.cli`` offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit status. May raise Refusal."""


def load(name: str) -> Command:
    """Import the module of one command."""
    return cast("Command", importlib.import_module(f"supervisor.cli.{COMMANDS[name][0]}"))


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """Build the parser; only the command named in ``argv`` gets its arguments declared."""
    parser = argparse.ArgumentParser(
        prog="sandbox-supervisor",
        description="Entrypoint of containers that run code nobody trusts.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, (_, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            load(name).configure(sub)
    return parser


def main(argv: list[str]) -> int:
    """Run one command and return its exit status (1 refused, 2 usage, otherwise its own)."""
    arguments = build_parser(argv).parse_args(argv)
    supervises = arguments.command in SUPERVISING
    if not supervises:
        # The launcher blocked them for those who read a signalfd; everybody else may be stopped.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        return _run(arguments)
    except Refusal as refusal:
        report(refusal, as_json=getattr(arguments, "json", False))
        return REFUSED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it has a code
        met = Refusal(INTERNAL_ERROR, words_of(error))
        report(met, as_json=getattr(arguments, "json", False))
        sys.excepthook(*sys.exc_info())
        return FAILED if supervises else REFUSED


def _run(arguments: argparse.Namespace) -> int:
    status = load(arguments.command).run(arguments)
    # Here, where it can still be told that nobody reads it. What supervises returns the workload's own
    # status, which no output of ours may change.
    if arguments.command not in SUPERVISING:
        print(end="", flush=True)
    return status


def report(refusal: Refusal, *, as_json: bool) -> None:
    """Print a refusal: one JSON object on stdout for programs, three lines on stderr for people."""
    if as_json:
        print(json.dumps({"error": refusal.as_dict()}))
        return
    print(
        f"sandbox-supervisor: refused: {refusal.code.name}\n"
        f"  cause:  {refusal.cause}\n  remedy: {refusal.remedy}",
        file=sys.stderr,
    )


def entry() -> NoReturn:
    """The console script and the self-contained runtime both start here."""
    sys.exit(main(sys.argv[1:]))
