"""The ways in which a container may be started, from all the privilege to none.

Each is one row: another form of the fence is one more. A form that another machine or another
part of the product has to provide is not listed before it is there.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from support.sandbox import AS_4242, IDENTITY

SIX = "NET_ADMIN,SETUID,SETGID,SETPCAP,KILL,SYS_PTRACE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """``options`` are podman's; ``identity`` and ``arguments`` are ours.

    ``fence`` is what the containment report must name.
    """

    name: str
    options: tuple[str, ...]
    identity: tuple[str, ...] = AS_4242
    arguments: tuple[str, ...] = ()
    fence: str = "namespace"


SYS_ADMIN = Form(name="sys-admin", options=("--cap-add=SYS_ADMIN,NET_ADMIN",))
USER_NAMESPACE = Form(name="user-namespace", options=())
SIX_CAPABILITIES = Form(name="six-capabilities", options=("--cap-drop=ALL", f"--cap-add={SIX}"))
UNPRIVILEGED = Form(
    name="unprivileged",
    options=(
        f"--user={IDENTITY}:{IDENTITY}", "--cap-drop=ALL", "--security-opt=no-new-privileges",
    ),
    identity=(),
)  # fmt: skip
POD = Form(name="pod", options=SIX_CAPABILITIES.options, arguments=("--fence=pod",), fence="pod")
# Not one container but three: net-init, the sidecar, and this one's, which has nothing at all.
SIDECAR = Form(name="sidecar", options=(), fence="held by the sidecar")
FORMS = (POD, SYS_ADMIN, USER_NAMESPACE, UNPRIVILEGED, SIDECAR)


def owned_workspace(directory: Path) -> str:
    """podman's option for a workspace that is the workload's already: every form can use it."""
    for entry in (directory, *directory.iterdir()):
        os.chown(entry, IDENTITY, IDENTITY, follow_symlinks=False)
    directory.chmod(0o755)  # root without DAC_OVERRIDE has to get in
    return f"--volume={directory}:/sandbox"
