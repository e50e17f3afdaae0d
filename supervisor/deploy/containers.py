"""The containers of the pod: what each runs, as whom, with which capabilities, and on what."""

from supervisor.deploy import layout, volumes
from supervisor.deploy.references import written
from supervisor.deploy.settings import PodSettings, Sideload, Topology
from supervisor.deploy.volumes import Json
from supervisor.identity.inputs import HELPER_IDS

EGRESS_ID = HELPER_IDS["egress"]

# To become the workload for good (SETUID SETGID SETPCAP), to end it (KILL), to make its network
# namespace and close it (SYS_ADMIN NET_ADMIN), to join its own /proc and /dev/shm (SYS_CHROOT,
# setns(2)), to give it its output pipes (CHOWN) and to look through its workspace, where it may have
# closed directories (DAC_READ_SEARCH).
COMBINED = (
    *("CHOWN", "DAC_READ_SEARCH", "KILL", "NET_ADMIN"),
    *("SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT"),
)
# To see which program owns a connection.
BINARY_IDENTITY = "SYS_PTRACE"
# It binds what needs NET_ADMIN and drops that one; with the rest it starts and ends egress.
SIDECAR = ("KILL", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID", "SYS_PTRACE")
NET_INIT = ("CHOWN", "FOWNER", "NET_ADMIN")
VOLUMES_INIT = ("CHOWN", "DAC_READ_SEARCH", "FOWNER")

# Where the installer mounts the volume: its own image has the runtime at layout.RUNTIME.
INSTALL_AT = "/install"

# The injected containers' requests and limits: a LimitRange refuses pods without. The sidecar's
# are the interpreter, the policy and the proxy's buffers; an init container lives for a second.
INIT_RESOURCES: Json = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}
SIDECAR_RESOURCES: Json = {
    "requests": {"cpu": "50m", "memory": "96Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}

# A start takes a fraction of a second; a busy node may need much longer to get to it.
STARTUP_TRIES = 60
PROBE_EVERY_S = 10
PROBE_TIMEOUT_S = 5
# A minute without an answer is not a hiccup.
LIVENESS_TRIES = 6


def agent(settings: PodSettings) -> Json:
    """The container whose command is the workload."""
    combined = settings.topology is Topology.COMBINED
    ids = settings.ids
    mounts = volumes.runtime(settings)
    if combined:
        capabilities = tuple(
            name
            for name in sorted((*COMBINED, BINARY_IDENTITY))
            if name != BINARY_IDENTITY or settings.binary_aware
        )
        security = as_root(*capabilities)
        words = ["run", "--mode", "full", "--policy", layout.POLICY, *_upstream(settings)]
        mounts += volumes.policy(settings)
    else:
        security = unprivileged(ids.uid, ids.gid)
        words = ["run", "--mode", "network-only", "--shared", layout.SHARED]
        # read-only: the workload, which has the same uid, cannot take the place of a socket there
        mounts += volumes.shared(settings, read_only=True)
    names = tuple(name for name, _ in settings.environment)
    words += ["--workdir", layout.WORKDIR, *_identity(settings), "--groups", _groups(settings)]
    for name in names:
        words += ["--env", name]
    container: Json = {
        "name": "agent",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy.value,
        "command": [launcher(settings), *words, "--", *written(settings.command, names)],
        "workingDir": "/",
        "securityContext": security,
        "resources": _agent_resources(settings),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts + volumes.writable(settings),
    }
    if settings.environment:
        container["env"] = [
            {"name": name, "value": value}
            for name, value in zip(
                names, written((value for _, value in settings.environment), names), strict=True
            )
        ]
    return {**container, **_probes(launcher(settings))} if combined else container


def init_containers(settings: PodSettings) -> list[Json]:
    """In their order; the native sidecar is the last of them."""
    found = []
    if settings.sideload is Sideload.INIT:
        found.append(_install(settings))
    found.append(_volumes_init(settings))
    if settings.seed:
        found.append(_seed(settings))
    if settings.topology is Topology.SIDECAR:
        found.append(_net_init(settings))
        if settings.native_sidecar:
            found.append({**_sidecar(settings), "restartPolicy": "Always"})
    return found


def containers(settings: PodSettings) -> list[Json]:
    """The agent's, and an ordinary sidecar."""
    if settings.topology is Topology.SIDECAR and not settings.native_sidecar:
        return [agent(settings), _sidecar(settings)]
    return [agent(settings)]


def as_root(*capabilities: str) -> Json:
    """Uid 0 with exactly these capabilities."""
    held: Json = {"drop": ["ALL"]}
    if capabilities:
        held["add"] = list(capabilities)
    return {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False, **_confined(held)}


def unprivileged(uid: int, gid: int) -> Json:
    """What Pod Security "restricted" asks for, and more."""
    return {
        "runAsUser": uid,
        "runAsGroup": gid,
        "runAsNonRoot": True,
        **_confined({"drop": ["ALL"]}),
    }


def launcher(settings: PodSettings) -> str:
    """Our program's path in the agent's container."""
    if settings.sideload is Sideload.IMAGE_VOLUME:
        return layout.LAUNCHER_IN_IMAGE_VOLUME
    return layout.LAUNCHER


def _confined(capabilities: Json) -> Json:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": capabilities,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _install(settings: PodSettings) -> Json:
    mounts: list[Json] = [{"name": volumes.name(settings, "runtime"), "mountPath": INSTALL_AT}]
    words = ["install", INSTALL_AT]
    return _ours(settings, "install", words=words, security=as_root(), mounts=mounts)


def _volumes_init(settings: PodSettings) -> Json:
    words = ["volumes-init", *_identity(settings), "--workdir", layout.WORKDIR]
    words += volumes.scratch_directories(settings)
    security = as_root(*VOLUMES_INIT)
    mounts = volumes.writable(settings)
    return _ours(settings, "volumes-init", words=words, security=security, mounts=mounts)


def _seed(settings: PodSettings) -> Json:
    """In the agent's image, as the workload: it reads nothing that the workload may not."""
    command = [launcher(settings), "seed", layout.WORKDIR, layout.SEED_INTO]
    return {
        "name": "seed",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy.value,
        "command": command,
        "workingDir": "/",
        "securityContext": unprivileged(settings.ids.uid, settings.ids.gid),
        "resources": INIT_RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": volumes.seed(settings),
    }


def _net_init(settings: PodSettings) -> Json:
    words = ["net-init", "--policy", layout.POLICY, "--egress-uid", str(EGRESS_ID)]
    words += _identity(settings)
    if settings.ids.groups:
        words += ["--groups", _groups(settings)]
    words += ["--shared", layout.SHARED]
    mounts = volumes.policy(settings) + volumes.shared(settings)
    security = as_root(*NET_INIT)
    return _ours(settings, "net-init", words=words, security=security, mounts=mounts)


def _sidecar(settings: PodSettings) -> Json:
    words = ["sidecar", "--policy", layout.POLICY, "--shared", layout.SHARED]
    words += ["--egress-uid", str(EGRESS_ID), *_identity(settings), *_upstream(settings)]
    security = as_root(*SIDECAR) if settings.binary_aware else unprivileged(EGRESS_ID, EGRESS_ID)
    mounts = [
        *volumes.policy(settings),
        *volumes.shared(settings),
        *volumes.secrets(settings),
    ]
    container = _ours(
        settings,
        "sidecar",
        words=words,
        security=security,
        resources=SIDECAR_RESOURCES,
        mounts=mounts,
    )
    return {**container, **_probes(layout.LAUNCHER, "--shared", layout.SHARED)}


def _ours(
    settings: PodSettings,
    name: str,
    *,
    words: list[str],
    security: Json,
    resources: Json = INIT_RESOURCES,
    mounts: list[Json],
) -> Json:
    """A container of the supervisor's own image."""
    return {
        "name": name,
        "image": settings.supervisor_image,
        "imagePullPolicy": settings.pull_policy.value,
        "command": [layout.LAUNCHER, *words],
        "securityContext": security,
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _probes(program: str, *place: str) -> Json:
    def probe(question: str, **tries: int) -> Json:
        command = [program, "status", *place, "--probe", question]
        return {"exec": {"command": command}, "timeoutSeconds": PROBE_TIMEOUT_S, **tries}

    return {
        "startupProbe": probe("ready", periodSeconds=1, failureThreshold=STARTUP_TRIES),
        "readinessProbe": probe("ready", periodSeconds=PROBE_EVERY_S),
        "livenessProbe": probe(
            "live", periodSeconds=PROBE_EVERY_S, failureThreshold=LIVENESS_TRIES
        ),
    }


def _identity(settings: PodSettings) -> list[str]:
    return ["--uid", str(settings.ids.uid), "--gid", str(settings.ids.gid)]


def _upstream(settings: PodSettings) -> list[str]:
    """What lies between egress and the world, for the container in which egress runs."""
    upstream = settings.upstream
    words: list[str] = []
    for option, value in (
        ("--resolver", upstream.resolver),
        ("--upstream-proxy", upstream.proxy),
        ("--upstream-proxy-credentials", volumes.proxy_credentials(settings)),
        ("--no-proxy", upstream.no_proxy),
    ):
        if value is not None:
            words += [option, value]
    return [*words, "--upstream-proxy-names"] if upstream.by_name else words


def _groups(settings: PodSettings) -> str:
    return ",".join(map(str, settings.ids.groups))


def _agent_resources(settings: PodSettings) -> Json:
    resources = settings.resources
    return {
        "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request},
        "limits": {"cpu": resources.cpu, "memory": resources.memory},
    }
