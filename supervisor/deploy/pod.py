"""The documents of a manifest: ConfigMap, claim, and the pod, alone or in a Sandbox. Pure."""

from supervisor.deploy import containers, layout, volumes
from supervisor.deploy.settings import NewClaim, PodSettings, Topology
from supervisor.deploy.volumes import Json

# More than DEFAULT_GRACE_S of `run`, so that its own order of TERM and KILL comes to its end.
TERMINATION_GRACE_S = 30
SANDBOX_GROUP = "agents.x-k8s.io"


def pod_documents(settings: PodSettings) -> list[Json]:
    """What ``manifest pod`` prints."""
    found = [policy_config_map(settings)]
    if isinstance(settings.workspace, NewClaim):
        claim = volumes.claim_spec(settings.workspace)
        named: Json = {"name": volumes.claim_name(settings), "labels": labels(settings)}
        found.append(_object("v1", "PersistentVolumeClaim", named, spec=claim))
    metadata: Json = {"name": settings.name, "labels": labels(settings)}
    return [*found, _object("v1", "Pod", metadata, spec=pod_spec(settings))]


def sandbox_documents(settings: PodSettings, *, version: str) -> list[Json]:
    """What ``manifest sandbox`` prints; ``version`` of the API is v1beta1 or v1alpha1.

    A new claim becomes a template: the controller then makes claim and volume of its name.
    """
    templated = isinstance(settings.workspace, NewClaim)
    template = {
        "metadata": {"labels": labels(settings)},
        "spec": pod_spec(settings, claim_from_template=templated),
    }
    spec: Json = {"podTemplate": template}
    if isinstance(settings.workspace, NewClaim):
        claim = {
            "metadata": {"name": volumes.claim_name(settings)},
            "spec": volumes.claim_spec(settings.workspace),
        }
        spec["volumeClaimTemplates"] = [claim]
    metadata: Json = {"name": settings.name, "labels": labels(settings)}
    kind = _object(f"{SANDBOX_GROUP}/{version}", "Sandbox", metadata, spec=spec)
    return [policy_config_map(settings), kind]


def policy_config_map(settings: PodSettings) -> Json:
    """The policy, where a live change of it reaches the pod."""
    metadata: Json = {"name": volumes.policy_name(settings), "labels": labels(settings)}
    return _object("v1", "ConfigMap", metadata, data={layout.POLICY_FILE: settings.policy})


def labels(settings: PodSettings) -> Json:
    """The recommended labels."""
    return {
        "app.kubernetes.io/name": settings.name,
        "app.kubernetes.io/managed-by": "sandbox-supervisor",
    }


def pod_spec(settings: PodSettings, *, claim_from_template: bool = False) -> Json:
    """The pod."""
    spec: Json = {
        "restartPolicy": settings.restart.value,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_S,
        "securityContext": _security(settings),
    }
    if settings.topology is Topology.SIDECAR and settings.binary_aware:
        # the sidecar looks up which program a connection belongs to
        spec["shareProcessNamespace"] = True
    if settings.user_namespace:
        spec["hostUsers"] = False
    if settings.runtime_class is not None:
        spec["runtimeClassName"] = settings.runtime_class
    return {
        **spec,
        "initContainers": containers.init_containers(settings),
        "containers": containers.containers(settings),
        "volumes": volumes.volumes(settings, claim_from_template=claim_from_template),
    }


def _security(settings: PodSettings) -> Json:
    """Nothing relies on fsGroup; but where it is absent OpenShift adds one of its choosing.

    That would be a group which nobody declared, and the agent half refuses such.
    """
    security: Json = {
        "fsGroup": settings.ids.gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if settings.ids.groups:
        security["supplementalGroups"] = list(settings.ids.groups)
    return security


def _object(version: str, kind: str, metadata: Json, **content: object) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
