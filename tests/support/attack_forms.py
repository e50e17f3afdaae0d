"""The containers that the supervisor must hold in: each with what it can and cannot give."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.sandbox import AS_4242, IDENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a container is started (podman's options) and the supervisor in it (ours)."""

    name: str
    options: tuple[str, ...]
    identity: tuple[str, ...] = AS_4242
    arguments: tuple[str, ...] = ()
    own_processes: bool = False  # a PID namespace with its own /proc is possible
    in_pod: bool = False  # the agent's container of a sidecar pod


@contextmanager
def forms() -> Iterator[dict[str, Form]]:
    """The forms by name; a directory that one of them needs lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="sandbox-test-", dir="/tmp") as owned:
        os.chown(owned, IDENTITY, IDENTITY)
        Path(owned).chmod(0o755)  # root without DAC_OVERRIDE has to get in
        found = (
            Form(name="sys-admin", options=("--cap-add=SYS_ADMIN,NET_ADMIN",), own_processes=True),
            Form(
                name="limited",
                options=(
                    "--cap-drop=ALL",
                    "--cap-add=NET_ADMIN,SETUID,SETGID,SETPCAP,KILL,SYS_PTRACE",
                    f"--volume={owned}:/sandbox",
                ),
            ),
            Form(
                name="unprivileged",
                options=(
                    f"--user={IDENTITY}:{IDENTITY}",
                    "--cap-drop=ALL",
                    "--security-opt=no-new-privileges",
                    "--read-only",
                    "--volume=/sandbox",
                    "--mount=type=tmpfs,destination=/work,chown",
                ),
                identity=(),
                arguments=("--workdir=/work",),
            ),
            Form(name="sidecar", options=(), in_pod=True),
        )
        yield {form.name: form for form in found}


COMBINED = ("sys-admin", "limited", "unprivileged")
NAMES = (*COMBINED, "sidecar")
