"""``volumes-init``: make the volumes of a pod usable for the workload, whoever made them.

Kubernetes makes an emptyDir 0777 and may give a claim to fsGroup; podman makes both root's, 0755.
Here neither matters. No shell, no tar, no recursion of our own: the workspace's code takes a
directory over, and a scratch directory only gets its mode.
"""

import os
import stat
from collections.abc import Sequence

from supervisor.errors import Refusal
from supervisor.install import codes
from supervisor.kernel import capabilities, procfs
from supervisor.settings import runtime_tree
from supervisor.workspace.execute import execute
from supervisor.workspace.plan import DEFAULT_WORKDIR, GivenBy, Owner, WorkspaceRequest, plan
from supervisor.workspace.report import Report

# As /tmp everywhere: everybody writes, nobody renames what others made.
SCRATCH_MODE = 0o1777
ALL_MAY = 0o777


def prepare_volumes(owner: Owner, *, workdir: str | None, scratch: Sequence[str]) -> Report | None:
    """Give ``workdir`` to the owner, /sandbox with all that is in it; open scratch directories.

    Raises Refusal ``workspace.*`` or ``install.scratch-directory``.
    """
    for directory in scratch:
        open_scratch(directory)
    if workdir is None:
        return None
    request = WorkspaceRequest(
        owner=owner,
        supervisor_tree=runtime_tree(),
        workdir=workdir,
        workdir_given_by=GivenBy.ARGUMENT,
        # only there is recursion meant: elsewhere may be anything
        identity_given_by_driver=workdir == DEFAULT_WORKDIR,
        capabilities=frozenset(capabilities.names(procfs.read_status().effective)),
    )
    return execute(plan(request))


def open_scratch(path: str) -> None:
    """Let everybody write into a directory, with the sticky bit; one that is open stays as it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & ALL_MAY != ALL_MAY:
                os.fchmod(descriptor, SCRATCH_MODE)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refusal(codes.SCRATCH, f"{path}: {error.strerror}") from error
