"""The arguments about what lies between egress and the world, for every command that runs egress."""

import argparse

from supervisor.settings import UpstreamSettings


def configure(parser: argparse.ArgumentParser, *, with_credentials: bool = True) -> None:
    """Declare the arguments; ``with_credentials``: for a command that runs where the file is."""
    group = parser.add_argument_group("upstream", "how egress reaches what the policy allows")
    group.add_argument(
        "--resolver",
        metavar="ADDRESS[,ADDRESS]",
        help="ask these name servers; default: those of /etc/resolv.conf",
    )
    group.add_argument(
        "--upstream-proxy",
        metavar="http://HOST:PORT",
        help="reach everything through this proxy, by CONNECT",
    )
    if with_credentials:
        group.add_argument(
            "--upstream-proxy-credentials",
            metavar="FILE",
            help="user:password for the proxy (Basic, in the clear to the proxy); root's, mode 0400",
        )
    group.add_argument(
        "--upstream-proxy-names",
        action="store_true",
        help="ask the proxy for names instead of checked addresses: checking is then up to it",
    )
    group.add_argument(
        "--no-proxy",
        metavar="LIST",
        help="what is reached directly: name, .domain, address, CIDR; the first three with :port",
    )


def settings_from(arguments: argparse.Namespace) -> UpstreamSettings:
    """Freeze what was said."""
    return UpstreamSettings(
        proxy=arguments.upstream_proxy,
        credentials=getattr(arguments, "upstream_proxy_credentials", None),
        by_name=arguments.upstream_proxy_names,
        no_proxy=arguments.no_proxy,
        resolver=arguments.resolver,
    )
