"""The pod's volumes and who mounts them. Names carry the pod's: podman shares equal names."""

from typing import assert_never

from supervisor.deploy import layout
from supervisor.deploy.settings import (
    EmptyWorkspace,
    ExistingClaim,
    NewClaim,
    PodSettings,
    Sideload,
    Topology,
    secrets_of,
)

Json = dict[str, object]

# Our tree is 64 MB on disk; an upgrade in place holds two of them for a moment.
RUNTIME_SIZE = "256Mi"
# A control socket, a certificate bundle and a report.
SHARED_SIZE = "16Mi"
TMP_SIZE = "1Gi"
SHM_SIZE = "64Mi"  # what container engines give /dev/shm
WRITABLE_SIZE = "1Gi"
# Mounted in the sidecar alone. A sidecar that is not root has to read it without any group that the
# workload may have; what egress' user reads there, no other user of that container could.
SECRET_MODE, SECRET_MODE_UNPRIVILEGED = 0o400, 0o444


def name(settings: PodSettings, what: str) -> str:
    """The name of one of the pod's volumes."""
    return f"{settings.name}-{what}"


def volumes(settings: PodSettings, *, claim_from_template: bool = False) -> list[Json]:
    """All volumes of the pod; a claim template brings its own volume."""
    found: list[Json] = []
    match settings.sideload:
        case Sideload.INIT:
            found.append(_empty(settings, "runtime", RUNTIME_SIZE))
        case Sideload.IMAGE_VOLUME:
            image = {
                "reference": settings.supervisor_image,
                "pullPolicy": settings.pull_policy.value,
            }
            found.append({"name": name(settings, "runtime"), "image": image})
        case Sideload.BAKED:
            pass
    # optional: false: podman 4.3 crashes on a volume source that leaves it open
    policy = {"name": policy_name(settings), "optional": False}
    found.append({"name": name(settings, "policy"), "configMap": policy})
    if settings.topology is Topology.SIDECAR:
        found.append(_empty(settings, "shared", SHARED_SIZE, medium="Memory"))
    if not claim_from_template:
        found.append(_workspace(settings))
    found.append(_empty(settings, "tmp", TMP_SIZE))
    # A pod's containers share one /dev/shm otherwise.
    found.append(_empty(settings, "shm", SHM_SIZE, medium="Memory"))
    found += [
        _empty(settings, f"writable-{number}", WRITABLE_SIZE)
        for number, _ in enumerate(settings.writable)
    ]
    mode = SECRET_MODE if settings.binary_aware else SECRET_MODE_UNPRIVILEGED
    for number, secret in enumerate(secrets_of(settings)):
        source = {"secretName": secret, "optional": False, "defaultMode": mode}
        found.append({"name": name(settings, f"secret-{number}"), "secret": source})
    return found


def policy_name(settings: PodSettings) -> str:
    """The name of the ConfigMap."""
    return f"{settings.name}-policy"


def claim_name(settings: PodSettings) -> str:
    """The name of a claim that is made with the pod."""
    return name(settings, "workspace")


def runtime(settings: PodSettings) -> list[Json]:
    """Our program, for a container whose image is not ours."""
    if settings.sideload is Sideload.BAKED:
        return []
    return [_mount(settings, "runtime", layout.RUNTIME, read_only=True)]


def policy(settings: PodSettings) -> list[Json]:
    """The policy. The directory, not the file: a subPath mount never sees an update."""
    return [_mount(settings, "policy", layout.POLICY_DIRECTORY, read_only=True)]


def shared(settings: PodSettings, *, read_only: bool = False) -> list[Json]:
    """Where the two halves of the sidecar topology meet."""
    return [_mount(settings, "shared", layout.SHARED, read_only=read_only)]


def writable(settings: PodSettings) -> list[Json]:
    """What the workload may write on a read-only root file system."""
    scratch = [
        _mount(settings, f"writable-{number}", directory)
        for number, directory in enumerate(settings.writable)
    ]
    return [
        _mount(settings, "workspace", layout.WORKDIR),
        _mount(settings, "tmp", layout.TMP),
        _mount(settings, "shm", layout.SHM),
        *scratch,
    ]


def seed(settings: PodSettings) -> list[Json]:
    """The workspace beside the image's own work directory."""
    return [*runtime(settings), _mount(settings, "workspace", layout.SEED_INTO)]


def scratch_directories(settings: PodSettings) -> tuple[str, ...]:
    """The mount points of ``writable`` but for the workspace."""
    return (layout.TMP, layout.SHM, *settings.writable)


def secrets(settings: PodSettings) -> list[Json]:
    """For the sidecar, and for nobody else."""
    return [
        _mount(settings, f"secret-{number}", f"{layout.SECRETS}/{secret}", read_only=True)
        for number, secret in enumerate(secrets_of(settings))
    ]


def proxy_credentials(settings: PodSettings) -> str | None:
    """The file for the proxy's user and password, as the sidecar sees it."""
    entry = settings.proxy_secret
    return None if entry is None else f"{layout.SECRETS}/{entry.secret}/{entry.key}"


def claim_spec(claim: NewClaim) -> Json:
    """The spec of a PersistentVolumeClaim."""
    spec: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": claim.size}},
    }
    if claim.storage_class is not None:
        spec["storageClassName"] = claim.storage_class
    return spec


def _workspace(settings: PodSettings) -> Json:
    match settings.workspace:
        case EmptyWorkspace(size=size):
            return _empty(settings, "workspace", size)
        case NewClaim():
            return _claimed(settings, claim_name(settings))
        case ExistingClaim(name=claim):
            return _claimed(settings, claim)
        case unreachable:
            assert_never(unreachable)


def _claimed(settings: PodSettings, claim: str) -> Json:
    source = {"claimName": claim}
    return {"name": name(settings, "workspace"), "persistentVolumeClaim": source}


def _empty(settings: PodSettings, what: str, size: str, medium: str | None = None) -> Json:
    source: Json = {"sizeLimit": size}
    if medium is not None:
        source["medium"] = medium
    return {"name": name(settings, what), "emptyDir": source}


def _mount(settings: PodSettings, what: str, path: str, *, read_only: bool = False) -> Json:
    mount: Json = {"name": name(settings, what), "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    return mount
