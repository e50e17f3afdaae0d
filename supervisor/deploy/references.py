"""``$(NAME)`` in a command or a variable: Kubernetes replaces it, and the workload shall not notice.

Kubernetes replaces ``$(NAME)`` where the container has that variable from the manifest or the
kubelet, leaves it alone where not, and makes ``$`` of every ``$$``. podman replaces nothing before
4.7, and afterwards in commands only. So a text is escaped only where Kubernetes would change it,
and then podman may read it differently, which is said.
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from collections.abc import Iterable, Sequence

# The kubelet gives these to every container, even without service links.
_KUBELETS = "$(KUBERNETES_"


def is_changed(text: str, names: Sequence[str]) -> bool:
    """Whether Kubernetes would hand on another text; ``names`` are the manifest's variables."""
    references = (f"$({name})" in text for name in names)
    return "$$" in text or _KUBELETS in text or any(references)


def written(texts: Iterable[str], names: Sequence[str]) -> list[str]:
    """The texts as they must stand in the manifest."""
    return [text.replace("$", "$$") if is_changed(text, names) else text for text in texts]
