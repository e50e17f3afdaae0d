"""``run``: the entrypoint."""

import argparse

from supervisor.cli import run_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_arguments.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Start the workload and return the container's exit status."""
    from supervisor.startup.run import run as run_workload

    return run_workload(run_arguments.settings_from(arguments))
