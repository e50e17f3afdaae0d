"""``run``: the entrypoint."""

import argparse

from supervisor.cli import run_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_arguments.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Start the workload and return the container's exit status."""
    settings = run_arguments.settings_from(arguments)
    if settings.mode == "network-only":
        from supervisor.startup.network_only import run as run_behind_sidecar

        return run_behind_sidecar(settings)
    from supervisor.startup.run import run as run_workload

    return run_workload(settings)
