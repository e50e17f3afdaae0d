"""One JSON line in the termination log: what Kubernetes shows when a container ends.

While the workload runs it holds the report in short, so that it is there however the end comes; at
the end status and cause stand before it.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import os
import stat
from collections.abc import Mapping

from supervisor.startup.facts import TERMINATION_LOG

LINE_BYTES = 4096  # what the kubelet reads at most from one container's log


def write_termination_log(fields: Mapping[str, object], *, path: str = TERMINATION_LOG) -> bool:
    """Replace the log's content with ``fields`` as one line; False where there is none that takes it.

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
        shorter = {name: fields[name] for name in fields if name != "containment"}
        shortest = {name: fields[name] for name in ("status", "code") if name in fields}
        lines = (dumps(kept).encode("ascii") for kept in (fields, shorter, shortest))
        line = next(line for line in lines if len(line) < LINE_BYTES)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, line + b"\n")
    except OSError:  # a full or broken disk: the log says the same, and the exit status counts
        return False
    finally:
        os.close(descriptor)
    return True
