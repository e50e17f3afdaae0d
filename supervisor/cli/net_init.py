"""``net-init``: the init container of a sidecar pod."""

import argparse

from supervisor.cli import pod_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    pod_arguments.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fence the pod and leave; 0, or 125 with the cause in the log."""
    from supervisor.startup.net_init import net_init

    return net_init(pod_arguments.settings_from(arguments))
