"""Argument words and environment into frozen settings; the only reader of os.environ.

The static launcher passes every variable of the container on as data, its name prefixed with
``@`` (no library looks such a name up), and sets ``SUPERVISOR_LAUNCHED``. Without it (a developer's
virtual environment) the process' own environment is the container's.

From the environment come only things that choose among equals or tighten: the identity, and how
to log. What could weaken the sandbox (policy, mode, fence) is argv only, because an image can bake
``ENV``.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MARKER = "SUPERVISOR_LAUNCHED"
LOG_LEVEL = "SANDBOX_LOG_LEVEL"
LOG_FORMAT = "SANDBOX_LOG_FORMAT"
DEFAULT_GRACE_S = 10.0  # what Kubernetes' 30 s and podman's 10 s leave room for
DEFAULT_UMASK = 0o022
DEFAULT_SHARED = "/run/sandbox-supervisor"
DEFAULT_SIDECAR_TIMEOUT_S = 120.0  # the sidecar's image may have to be pulled first
# In the runtime's tree, where its build left one: the digest of all other files in it.
RUNTIME_DIGEST = "digest"


def container_environment() -> dict[str, str]:
    """The container's variables as it declared them; undecodable bytes are surrogate-escaped."""
    if MARKER not in os.environ:
        return dict(os.environ)
    return {name[1:]: value for name, value in os.environ.items() if name.startswith("@")}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """How egress reaches the world; argv only. Texts as they were given."""

    proxy: str | None = None
    credentials: str | None = None  # the path of the file
    by_name: bool = False
    no_proxy: str | None = None
    resolver: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything ``run`` and ``plan`` were told, nothing interpreted yet."""

    command: tuple[str, ...]
    environment: Mapping[str, str]  # the container's
    mode: str = "full"
    policy: str | None = None
    policy_from_image: bool = False
    workdir: str | None = None
    uid: str | None = None
    gid: str | None = None
    groups: str | None = None
    fence: Literal["auto", "namespace", "pod"] = "auto"
    fence_this_netns: bool = False
    interactive: bool = False
    timeout_s: float | None = None
    grace_s: float = DEFAULT_GRACE_S
    umask: int = DEFAULT_UMASK
    limits: Mapping[str, int] = field(default_factory=dict)
    shared: str = DEFAULT_SHARED  # network-only: where the sidecar is found
    wait_for_sidecar: bool = False  # network-only: live on offline when it goes away
    sidecar_timeout_s: float = DEFAULT_SIDECAR_TIMEOUT_S
    passed: tuple[str, ...] = ()  # --env words
    pass_all: bool = False
    proxy_env: bool = False
    extra_ca: str | None = None  # the path of the file
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    metrics_socket: str | None = None
    log_level: str = "info"
    log_format: str = "auto"


def is_launched() -> bool:
    """Whether we run from the self-contained runtime, started by its launcher."""
    return MARKER in os.environ


def runtime_tree() -> str:
    """The directory that holds our own files: never the workload's to change.

    The self-contained runtime's, or in a developer's checkout the one above this package.
    """
    if is_launched():
        return os.path.dirname(os.path.dirname(sys.executable))
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
