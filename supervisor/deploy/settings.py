"""What a pod is made from. Checked here, so that the builders decide nothing."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from supervisor.deploy import codes
from supervisor.deploy.layout import OUR_MOUNTS, RUNTIME
from supervisor.errors import Refusal
from supervisor.identity.ids import quote
from supervisor.identity.openshift import PodIds
from supervisor.settings import UpstreamSettings
from supervisor.workspace.protected import canonical, refuse_as_workspace

# Names of volumes are NAME plus a suffix of ours and must be DNS labels (RFC 1123, 63 characters).
MAX_NAME = 40
# An object of Kubernetes is at most 1 MiB (ConfigMap documentation), and so is a policy.
MAX_POLICY = 1 << 20
# What one pod reasonably has; the manifest of a typing mistake must not grow without end.
MAX_LISTED = 64
RESERVED_VARIABLES = ("SANDBOX_", "OPENSHELL_", "SUPERVISOR_")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
# A quantity: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A key of a Secret: https://kubernetes.io/docs/concepts/configuration/secret/
_KEY = re.compile(r"[-._A-Za-z0-9]*[-_A-Za-z0-9][-._A-Za-z0-9]*")
_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+")


class Topology(enum.Enum):
    """Who enforces the network: the agent's own container, or one beside it."""

    COMBINED = "combined"
    SIDECAR = "sidecar"


class Sideload(enum.Enum):
    """How the runtime gets into the agent's container."""

    INIT = "init"  # an init container copies it into a volume
    IMAGE_VOLUME = "image-volume"  # the supervisor's image is mounted
    BAKED = "baked"  # the agent's image carries it


class Restart(enum.Enum):
    """``Always`` is missing on purpose: podman then runs init containers in a circle."""

    NEVER = "Never"
    ON_FAILURE = "OnFailure"


class PullPolicy(enum.Enum):
    """imagePullPolicy of every container."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyWorkspace:
    """An emptyDir: gone with the pod."""

    size: str = "2Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClaim:
    """A claim that is made with the pod."""

    size: str
    storage_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingClaim:
    """A claim that is there already."""

    name: str


Workspace = EmptyWorkspace | NewClaim | ExistingClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Requests and limits as Kubernetes quantities."""

    cpu_request: str = "100m"
    memory_request: str = "256Mi"
    cpu: str = "2"
    memory: str = "4Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """One entry of a Secret."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """Everything that decides the manifest; checked on construction (Refusal ``deploy.*``)."""

    name: str
    image: str
    command: tuple[str, ...]
    policy: str  # the document's text
    ids: PodIds
    supervisor_image: str
    topology: Topology = Topology.COMBINED
    sideload: Sideload = Sideload.INIT
    native_sidecar: bool = False
    binary_aware: bool = True
    restart: Restart = Restart.NEVER
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    resources: Resources = field(default_factory=Resources)
    workspace: Workspace = field(default_factory=EmptyWorkspace)
    seed: bool = False  # the image's work directory into an empty workspace
    writable: tuple[str, ...] = ()  # directories that get a volume of their own
    environment: tuple[tuple[str, str], ...] = ()
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    secrets: tuple[str, ...] = ()  # names of Secrets, for the sidecar only
    proxy_secret: SecretKey | None = None  # user:password for the upstream proxy, likewise
    runtime_class: str | None = None
    user_namespace: bool = False  # hostUsers: false

    def __post_init__(self) -> None:
        """Refuse what Kubernetes or podman would refuse, or read differently from what was meant."""
        _check_texts(self)
        _check_lists(self)
        _check_combination(self)


def _check_texts(settings: PodSettings) -> None:
    _match(_LABEL, settings.name, "the name", "a DNS label: lower-case letters, digits, '-'")
    if len(settings.name) > MAX_NAME:
        raise _bad("the name", settings.name, f"longer than {MAX_NAME} characters")
    for what, image in (
        ("--image", settings.image),
        ("--supervisor-image", settings.supervisor_image),
    ):
        _match(_IMAGE, image, what, "an image reference")
    if settings.runtime_class is not None:
        _match(_LABEL, settings.runtime_class, "--runtime-class", "a DNS label")
    resources = settings.resources
    for what, quantity in (
        ("--cpu-request", resources.cpu_request),
        ("--memory-request", resources.memory_request),
        ("--cpu", resources.cpu),
        ("--memory", resources.memory),
    ):
        _match(_QUANTITY, quantity, what, "a quantity like 500m or 2Gi")
    match settings.workspace:
        case EmptyWorkspace(size=size) | NewClaim(size=size):
            _match(_QUANTITY, size, "--workspace-size", "a quantity like 2Gi")
        case ExistingClaim(name=name):
            _match(_LABEL, name, "--workspace-claim", "a DNS label")
    if len(settings.policy) > MAX_POLICY:
        raise Refusal(codes.BAD_SETTING, f"the policy is longer than {MAX_POLICY} characters")


def _check_lists(settings: PodSettings) -> None:
    if not settings.command or not settings.command[0]:
        raise Refusal(codes.BAD_SETTING, "no command is given for the workload")
    for word in settings.command:
        _check_text("the command", word)
    for what, items in (
        ("--writable", settings.writable),
        ("--secret", settings.secrets),
        ("--env", tuple(name for name, _ in settings.environment)),
    ):
        if len(items) > MAX_LISTED:
            raise Refusal(codes.BAD_SETTING, f"{what} is given more than {MAX_LISTED} times")
        if repeated := _repeated(items):
            raise _bad(what, repeated, "given twice")
    for directory in settings.writable:
        _check_directory(directory)
    for name in settings.secrets:
        _match(_LABEL, name, "--secret", "a DNS label")
    if settings.proxy_secret is not None:
        _match(_LABEL, settings.proxy_secret.secret, "--upstream-proxy-secret", "a DNS label")
        _match(_KEY, settings.proxy_secret.key, "--upstream-proxy-secret", "a key of a Secret")
    for name, value in settings.environment:
        _check_variable(name, value)


def _check_variable(name: str, value: str) -> None:
    _match(_VARIABLE, name, "--env", "the name of a variable")
    if name.startswith(RESERVED_VARIABLES):
        raise _bad("--env", name, "reserved for the supervisor, which takes it from argv here")
    _check_text("--env", value)


def _check_text(what: str, text: str) -> None:
    """Any text, as long as argv, the environment and YAML can carry it."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise _bad(what, text, "not text without NUL")


def _check_directory(directory: str) -> None:
    _match(_DIRECTORY, directory, "--writable", "a path of letters, digits, '.', '_' and '-'")
    path = canonical(directory)
    refuse_as_workspace(path, RUNTIME)
    for taken in OUR_MOUNTS:
        if path == taken or path.startswith(f"{taken}/") or taken.startswith(f"{path}/"):
            raise _bad("--writable", directory, f"in the way of {taken}")


def _check_combination(settings: PodSettings) -> None:
    combined = settings.topology is Topology.COMBINED
    if combined and settings.native_sidecar:
        raise Refusal(codes.CONFLICT, "--native-sidecar needs --topology sidecar")
    if combined and (inside := secrets_of(settings)):
        raise Refusal(codes.SECRET_IN_REACH, f"the Secret {inside[0]}")


def secrets_of(settings: PodSettings) -> tuple[str, ...]:
    """The names of all Secrets that the sidecar gets, each once."""
    proxy = () if settings.proxy_secret is None else (settings.proxy_secret.secret,)
    return tuple(dict.fromkeys((*settings.secrets, *proxy)))


def _match(pattern: re.Pattern[str], text: str, what: str, wanted: str) -> None:
    if not pattern.fullmatch(text):
        raise _bad(what, text, f"not {wanted}")


def _bad(what: str, text: str, why: str) -> Refusal:
    return Refusal(codes.BAD_SETTING, f"{what} is {quote(text)}, {why}")


def _repeated(items: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
