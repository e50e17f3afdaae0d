"""The arguments that ``net-init`` and ``sidecar`` share, and how they become settings."""

import argparse

from supervisor.cli.run_arguments import chosen
from supervisor.errors import Refusal
from supervisor.events.log import FORMATS, LEVELS
from supervisor.identity.ids import parse_id
from supervisor.settings import DEFAULT_SHARED, LOG_FORMAT, LOG_LEVEL, container_environment
from supervisor.startup.pod import EGRESS_ID, PodSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--policy", metavar="FILE", help="the policy; without one, closed")
    parser.add_argument(
        "--policy-from-image",
        action="store_true",
        help="trust a policy file that is part of the image",
    )
    parser.add_argument(
        "--shared",
        metavar="DIR",
        default=DEFAULT_SHARED,
        help="the directory that the pod's containers share; default %(default)s",
    )
    parser.add_argument(
        "--egress-uid",
        type=_id,
        default=EGRESS_ID,
        metavar="N",
        help="the uid that the fence lets through; default %(default)s",
    )
    for name, what in (("uid", "user"), ("gid", "group")):
        parser.add_argument(
            f"--{name}", type=_id, required=True, help=f"the workload's {what}, a number"
        )
    parser.add_argument(
        "--groups", type=_ids, default=(), help="its supplementary groups, comma-separated"
    )
    parser.add_argument(
        "--fence-this-netns",
        action="store_true",
        help="fence this network namespace even though it looks like a machine's own",
    )
    parser.add_argument("--log-level", choices=LEVELS, help=f"default info; also {LOG_LEVEL}")
    parser.add_argument("--log-format", choices=FORMATS, help=f"default auto; also {LOG_FORMAT}")


def settings_from(arguments: argparse.Namespace, **more: object) -> PodSettings:
    """Freeze what was said; ``more`` are fields that only one of the commands has."""
    environment = container_environment()
    return PodSettings(
        policy=arguments.policy,
        policy_from_image=arguments.policy_from_image,
        shared=arguments.shared,
        egress_uid=arguments.egress_uid,
        uid=arguments.uid,
        gid=arguments.gid,
        groups=arguments.groups,
        fence_this_netns=arguments.fence_this_netns,
        log_level=chosen(arguments.log_level, environment.get(LOG_LEVEL), LEVELS, "info"),
        log_format=chosen(arguments.log_format, environment.get(LOG_FORMAT), FORMATS, "auto"),
        **more,  # type: ignore[arg-type]
    )


def _id(text: str) -> int:
    try:
        return parse_id(text, "this")
    except Refusal as refusal:
        raise argparse.ArgumentTypeError(refusal.cause) from refusal


def _ids(text: str) -> tuple[int, ...]:
    return tuple(sorted({_id(word) for word in text.split(",") if word}))
