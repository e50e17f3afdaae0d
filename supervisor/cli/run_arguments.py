"""The arguments that ``run`` and ``plan`` share, and how they become settings."""

import argparse
import math

from supervisor.cli import upstream_arguments
from supervisor.events.log import FORMATS, LEVELS
from supervisor.monitor.environment import unusable
from supervisor.settings import (
    DEFAULT_GRACE_S,
    DEFAULT_SHARED,
    DEFAULT_SIDECAR_TIMEOUT_S,
    DEFAULT_UMASK,
    LOG_FORMAT,
    LOG_LEVEL,
    RunSettings,
    container_environment,
)

METRICS_HELP = "serve /metrics, /healthz and /readyz over HTTP on a unix socket"
LONGEST_S = 10 * 365 * 24 * 3600.0  # above this a number of seconds is a mistake


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--mode", choices=("full", "network-only"), default="full")
    _configure_network_only(parser)
    parser.add_argument("--policy", metavar="FILE", help="the policy; without one, closed")
    parser.add_argument(
        "--policy-from-image",
        action="store_true",
        help="trust a policy file that is part of the image",
    )
    parser.add_argument("--workdir", metavar="DIR", help="workspace and cwd; default /sandbox")
    parser.add_argument(
        "--fence",
        choices=("auto", "namespace", "pod"),
        default="auto",
        help="the fence's form; default: the strongest that can be built",
    )
    parser.add_argument(
        "--fence-this-netns",
        action="store_true",
        help="fence this network namespace even though it looks like a machine's own",
    )
    for name, what in (("uid", "user"), ("gid", "group")):
        parser.add_argument(f"--{name}", help=f"the workload's {what}: a number or a name")
    parser.add_argument("--groups", help="its supplementary groups, comma-separated")
    _configure_variables(parser)
    upstream_arguments.configure(parser)
    parser.add_argument("-i", "--interactive", action="store_true", help="give it a terminal")
    parser.add_argument("-t", "--timeout", type=seconds, metavar="S", help="end it after S seconds")
    parser.add_argument(
        "--grace",
        type=seconds,
        metavar="S",
        default=DEFAULT_GRACE_S,
        help="seconds between TERM and KILL; default %(default)s",
    )
    parser.add_argument("--umask", type=_umask, default=DEFAULT_UMASK, help="octal; default 022")
    parser.add_argument("--metrics-socket", metavar="PATH", help=METRICS_HELP)
    parser.add_argument("--log-level", choices=LEVELS, help=f"default info; also {LOG_LEVEL}")
    parser.add_argument("--log-format", choices=FORMATS, help=f"default auto; also {LOG_FORMAT}")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[--] COMMAND…")


def _configure_variables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        type=variable,
        metavar="NAME[=VALUE]",
        help="pass a variable of the container on, or set one; may be repeated",
    )
    parser.add_argument(
        "--env-all", action="store_true", help="pass every variable of the container on"
    )
    parser.add_argument(
        "--proxy-env",
        action="store_true",
        help="offer egress' explicit proxy in HTTP_PROXY and the like; nothing needs it",
    )
    parser.add_argument(
        "--extra-ca",
        metavar="FILE",
        help="certificates that programs shall trust beside the image's own; root's, not the image's",
    )


def _configure_network_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shared",
        metavar="DIR",
        default=DEFAULT_SHARED,
        help="network-only: the directory that the pod's containers share; default %(default)s",
    )
    parser.add_argument(
        "--sidecar-loss",
        choices=("end", "wait"),
        default="end",
        help="network-only: end the workload when the sidecar goes away, or let it wait offline",
    )
    parser.add_argument(
        "--sidecar-timeout",
        type=seconds,
        metavar="S",
        default=DEFAULT_SIDECAR_TIMEOUT_S,
        help="network-only: how long to wait for the sidecar; default %(default)s",
    )


def settings_from(arguments: argparse.Namespace) -> RunSettings:
    """Freeze what was said."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    environment = container_environment()
    return RunSettings(
        command=tuple(words),
        environment=environment,
        mode=arguments.mode,
        policy=arguments.policy,
        policy_from_image=arguments.policy_from_image,
        shared=arguments.shared,
        wait_for_sidecar=arguments.sidecar_loss == "wait",
        sidecar_timeout_s=arguments.sidecar_timeout,
        workdir=arguments.workdir,
        uid=arguments.uid,
        gid=arguments.gid,
        groups=arguments.groups,
        fence=arguments.fence,
        fence_this_netns=arguments.fence_this_netns,
        interactive=arguments.interactive,
        timeout_s=arguments.timeout,
        grace_s=arguments.grace,
        umask=arguments.umask,
        passed=tuple(arguments.env),
        pass_all=arguments.env_all,
        proxy_env=arguments.proxy_env,
        extra_ca=arguments.extra_ca,
        upstream=upstream_arguments.settings_from(arguments),
        metrics_socket=arguments.metrics_socket,
        log_level=chosen(arguments.log_level, environment.get(LOG_LEVEL), LEVELS, "info"),
        log_format=chosen(arguments.log_format, environment.get(LOG_FORMAT), FORMATS, "auto"),
    )


def chosen(said: str | None, baked: str | None, known: tuple[str, ...], default: str) -> str:
    """Argv, else the environment if it makes sense, else the default: a log is never worth a stop."""
    return said or (baked if baked in known else default)


def seconds(text: str) -> float:
    """An argument that is a positive, finite number of seconds."""
    number = float(text)
    if not math.isfinite(number) or not 0 < number <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return number


def _umask(text: str) -> int:
    number = int(text, 8)
    if not 0 <= number <= 0o777:
        raise argparse.ArgumentTypeError(f"{text} is not an octal mask up to 777")
    return number


def variable(text: str) -> str:
    """An argument that is NAME or NAME=VALUE and may reach a workload."""
    if complaint := unusable(text):
        raise argparse.ArgumentTypeError(complaint)
    return text
