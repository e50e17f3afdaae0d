"""``sidecar``: the container that serves the network of a fenced pod."""

import argparse

from supervisor.cli import pod_arguments, upstream_arguments
from supervisor.cli.run_arguments import METRICS_HELP, seconds, variable


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from supervisor.sidecar.host_states import AWAIT_AGENT_S
    from supervisor.startup.pod import DEFAULT_GRACE_S

    pod_arguments.configure(parser)
    upstream_arguments.configure(parser)
    parser.add_argument("--metrics-socket", metavar="PATH", help=METRICS_HELP)
    parser.add_argument(
        "--workload-env",
        action="append",
        default=[],
        type=variable,
        metavar="NAME=VALUE",
        help="a variable for the workload; nothing secret; may be repeated",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        metavar="S",
        default=DEFAULT_GRACE_S,
        help="how long to serve on after TERM while the agent ends; default %(default)s",
    )
    parser.add_argument(
        "--await-agent",
        type=seconds,
        metavar="S",
        default=AWAIT_AGENT_S,
        help="how long to wait for the agent's container; default %(default)s",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until the agent has ended; its exit status, or 125 with the cause in the log."""
    from supervisor.startup.sidecar import sidecar

    pairs = (word.partition("=") for word in arguments.workload_env)
    settings = pod_arguments.settings_from(
        arguments,
        environment={name: value for name, _, value in pairs},
        grace_s=arguments.grace,
        await_agent_s=arguments.await_agent,
        upstream=upstream_arguments.settings_from(arguments),
        metrics_socket=arguments.metrics_socket,
    )
    return sidecar(settings)
