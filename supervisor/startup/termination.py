"""One JSON line of cause in the termination log: what Kubernetes shows when a container ends.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import os
import stat
from collections.abc import Mapping

from supervisor.startup.facts import TERMINATION_LOG

LINE_BYTES = 4096  # what the kubelet reads at most from one container's log


def write_termination_log(fields: Mapping[str, object], *, path: str = TERMINATION_LOG) -> bool:
    """Replace the log's content with ``fields`` as one line; False where there is no such log.

    The file is the runtime's, but the name lies in the container: a symlink or anything that is
    not a regular file is left alone.
    """
    from json import dumps

    try:
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        line = dumps(fields).encode("ascii")
        if len(line) >= LINE_BYTES:
            kept = {name: fields[name] for name in ("status", "code") if name in fields}
            line = dumps(kept).encode("ascii")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, line + b"\n")
    finally:
        os.close(descriptor)
    return True
