"""Which Kubernetes a manifest needs, and what ``podman kube play`` makes of it."""

from dataclasses import dataclass

from supervisor.deploy.references import is_changed
from supervisor.deploy.settings import (
    EmptyWorkspace,
    PodSettings,
    Sideload,
)

# Pod Security admission is stable since; older ones are not validated against.
OLDEST = (1, 25)
OLDEST_SOURCE = "Pod Security admission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """The oldest Kubernetes and why; what podman leaves out; what podman cannot do at all."""

    kubernetes: tuple[int, int]
    reason: str
    ignored: tuple[str, ...]
    impossible: tuple[str, ...]

    @property
    def version(self) -> str:
        """The version as ``1.29``."""
        return ".".join(map(str, self.kubernetes))

    def lines(self) -> list[str]:
        """For people."""
        found = [f"needs Kubernetes {self.version} or newer: {self.reason}"]
        found += [f"not for podman kube play: {cause}" for cause in self.impossible]
        if self.ignored:
            found.append(f"podman kube play ignores: {', '.join(self.ignored)}")
        return found

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return {
            "kubernetes": self.version,
            "reason": self.reason,
            "podman": {"ignored": list(self.ignored), "impossible": list(self.impossible)},
        }


def judge(settings: PodSettings, *, in_sandbox: bool = False) -> Compatibility:
    """Look at the settings that make a difference."""
    needs = [(OLDEST, OLDEST_SOURCE), *_needs(settings)]
    version, reason = max(needs)
    return Compatibility(
        kubernetes=version,
        reason=reason,
        ignored=tuple(_ignored(settings)),
        impossible=tuple(_impossible(settings, in_sandbox=in_sandbox)),
    )


def _needs(settings: PodSettings) -> list[tuple[tuple[int, int], str]]:
    # https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/
    found = []
    if settings.native_sidecar:
        found.append(((1, 29), "native sidecar (SidecarContainers is on by default)"))
    if settings.user_namespace:
        found.append(((1, 33), "hostUsers: false (UserNamespacesSupport is on by default)"))
    if settings.sideload is Sideload.IMAGE_VOLUME:
        found.append(((1, 35), "image volume (ImageVolume is on by default)"))
    return found


def _ignored(settings: PodSettings) -> list[str]:
    """Fields that podman 4.3 reads and drops (run there); nothing of the sandbox rests on them."""
    found = [
        "fsGroup",
        "runAsNonRoot",
        "seccompProfile (its own default profile holds)",
        "terminationMessagePolicy",
        "terminationGracePeriodSeconds",
        "enableServiceLinks",
        "sizeLimit and medium of emptyDir",
        "startupProbe",
        "readinessProbe",
    ]
    if settings.runtime_class is not None:
        found.append("runtimeClassName")
    if settings.user_namespace:
        found.append("hostUsers")
    if not isinstance(settings.workspace, EmptyWorkspace):
        found.append("size and class of the claim, which becomes a volume of its name")
    return found


def _impossible(settings: PodSettings, *, in_sandbox: bool) -> list[str]:
    found = []
    if settings.native_sidecar:
        found.append("native sidecar: podman waits for it to end, or refuses its probes")
    if settings.sideload is Sideload.IMAGE_VOLUME:
        found.append("image volume: only since podman 5.4")
    names = tuple(name for name, _ in settings.environment)
    texts = (*settings.command, *(value for _, value in settings.environment))
    if any(is_changed(text, names) for text in texts):
        found.append("'$$' or '$(NAME)' is escaped for Kubernetes; podman does not undo that")
    if in_sandbox:
        found.append("kind Sandbox: play what 'manifest pod' writes from the same settings")
    return found
