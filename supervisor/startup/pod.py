"""What the roles of a sidecar pod have in common: who is who, the policy, the fence they expect."""

from dataclasses import dataclass, field

from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.fence.request import Loopback, PodRequest
from supervisor.identity.decide import check_reserved_ids
from supervisor.identity.inputs import HELPER_IDS
from supervisor.settings import DEFAULT_SHARED, RunSettings, UpstreamSettings
from supervisor.startup import codes
from supervisor.startup.policy import LoadedPolicy, obtain_policy

DEFAULT_GRACE_S = 25.0  # more than `run` gives its workload, less than Kubernetes' 30 s
EGRESS_ID = HELPER_IDS["egress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What ``net-init`` and ``sidecar`` were told; argv alone decides, but for the log."""

    policy: str | None
    policy_from_image: bool = False
    shared: str = DEFAULT_SHARED
    egress_uid: int = EGRESS_ID
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    fence_this_netns: bool = False
    environment: dict[str, str] = field(default_factory=dict)  # for the workload; nothing secret
    grace_s: float = DEFAULT_GRACE_S
    await_agent_s: float = 300.0
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    metrics_socket: str | None = None
    log_level: str = "info"
    log_format: str = "auto"


def run_settings(settings: PodSettings) -> RunSettings:
    """The same as settings of ``run``, as far as policy and upstream go."""
    return RunSettings(
        command=(),
        environment={},
        policy=settings.policy,
        policy_from_image=settings.policy_from_image,
        upstream=settings.upstream,
        metrics_socket=settings.metrics_socket,
    )


def load_policy(settings: PodSettings) -> LoadedPolicy:
    """The policy of the pod. Raises Refusal."""
    loaded = obtain_policy(run_settings(settings), sees_programs=False)
    if loaded.static.supervisor.require.fence == "namespace":
        cause = "the policy requires 'namespace', a sidecar pod has the form 'pod'"
        raise Refusal(codes.FENCE_FORM, cause)
    if loaded.static.not_enforced:
        listed = "; ".join(str(finding) for finding in loaded.static.not_enforced[:5])
        raise Refusal(codes.NOT_ENFORCED, listed)
    return loaded


def fence_request(settings: PodSettings, policy: Policy) -> PodRequest:
    """The fence of the pod: net-init builds exactly what the sidecar compares. Raises Refusal."""
    held = (settings.uid, settings.gid, *settings.groups)
    check_reserved_ids(held, {"egress": settings.egress_uid, "access": HELPER_IDS["access"]})
    loopback = policy.supervisor.loopback
    return PodRequest(
        egress_uid=settings.egress_uid,
        workload_uid=settings.uid,
        loopback=Loopback(allowed=None if loopback is None else frozenset(loopback)),
        force=settings.fence_this_netns,
    )
