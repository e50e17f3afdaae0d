"""From what argv says about proxy and name servers to what egress is started with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.errors import Refusal
from supervisor.events.vocabulary import UpstreamChosen
from supervisor.settings import UpstreamSettings
from supervisor.startup import upstream_codes as codes
from supervisor.startup.trusted_file import Kind, read_trusted

if TYPE_CHECKING:
    from supervisor.egress.resolv_conf import ResolvConf
    from supervisor.egress.upstream_proxy import UpstreamProxy

CREDENTIALS_BYTES = 1024  # proxies' own bounds for user and password are below
_CREDENTIALS = Kind(
    codes.CREDENTIALS_MISSING,
    codes.CREDENTIALS_UNTRUSTED,
    codes.CREDENTIALS_INVALID,
    CREDENTIALS_BYTES,
    secret=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Checked; None is the default: no proxy, the name servers of resolv.conf."""

    proxy: "UpstreamProxy | None" = None
    servers: "ResolvConf | None" = None

    def described(self) -> UpstreamChosen | None:
        """The event; None where all is the container's own."""
        if self.servers is None and self.proxy is None:
            return None
        servers = () if self.servers is None else self.servers.servers
        chosen = UpstreamChosen(resolvers=tuple(map(str, servers)))
        if self.proxy is None:
            return chosen
        return chosen._replace(
            proxy=str(self.proxy),
            asked_for="names" if self.proxy.by_name else "checked addresses",
            has_credentials=self.proxy.authorization is not None,
        )

    def notes(self) -> list[str]:
        """What the containment report has to say."""
        if self.proxy is None or not self.proxy.by_name:
            return []
        note = (
            f"--upstream-proxy-names: the proxy {self.proxy} resolves names, so which addresses they "
            "lead to is its to check; endpoints with allowed_ips are still resolved and checked here"
        )
        return [note]


def obtain_upstream(settings: UpstreamSettings, *, beside_workload: bool = True) -> Upstream:
    """Read and check. Raises Refusal with a code of upstream_codes.

    ``beside_workload``: it has our files in sight, so a file that others than root may read is no
    secret. A sidecar's container has no workload, and a pod's fsGroup opens every Secret to a group.
    """
    kind = _CREDENTIALS._replace(secret=beside_workload)
    return Upstream(proxy=_proxy(settings, kind), servers=_servers(settings))


def _proxy(settings: UpstreamSettings, kind: Kind) -> "UpstreamProxy | None":
    if settings.proxy is None:
        given = (
            ("--upstream-proxy-credentials", settings.credentials is not None),
            ("--upstream-proxy-names", settings.by_name),
            ("--no-proxy", settings.no_proxy is not None),
        )
        if alone := [name for name, is_given in given if is_given]:
            raise Refusal(codes.WITHOUT_PROXY, ", ".join(alone))
        return None
    # Late: most starts have no proxy, and the tables of addresses cost milliseconds.
    from supervisor.egress.no_proxy import NoProxyError, parse_no_proxy
    from supervisor.egress.upstream_proxy import UpstreamError, UpstreamProxy, parse_proxy

    try:
        host, port = parse_proxy(settings.proxy)
    except UpstreamError as error:
        raise Refusal(codes.PROXY_INVALID, str(error)) from error
    try:
        no_proxy = parse_no_proxy(settings.no_proxy or "")
    except NoProxyError as error:
        raise Refusal(codes.NO_PROXY_INVALID, str(error)) from error
    path = settings.credentials
    return UpstreamProxy(
        host=host,
        port=port,
        authorization=None if path is None else _authorization(path, kind),
        by_name=settings.by_name,
        no_proxy=no_proxy,
    )


def _authorization(path: str, kind: Kind) -> bytes:
    from supervisor.egress.upstream_proxy import UpstreamError, parse_credentials

    try:
        return parse_credentials(read_trusted(path, kind))
    except UpstreamError as error:
        raise Refusal(codes.CREDENTIALS_INVALID, f"{path}: {error}") from error


def _servers(settings: UpstreamSettings) -> "ResolvConf | None":
    if settings.resolver is None:
        return None
    from supervisor.egress.resolv_conf import ResolvConfError, parse_servers

    try:
        return parse_servers(settings.resolver)
    except ResolvConfError as error:
        raise Refusal(codes.RESOLVER_INVALID, str(error)) from error
