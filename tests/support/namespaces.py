"""Be root of a user namespace of one's own."""

import os
from collections.abc import Callable
from typing import Any

from supervisor.kernel.namespaces import IdRange, unshare, write_id_map


def in_own_user_namespace(work: Callable[[], Any], flags: int) -> Any:
    """Unshare ``flags`` (CLONE_NEWUSER among them), get ids 0 to 65535 mapped, call ``work``.

    The maps are written from outside, as the kernel demands; for a forked child of a test.
    """
    left, mapped = os.pipe(), os.pipe()
    mapper = os.fork()
    if mapper == 0:
        os.read(left[0], 1)
        for kind in ("uid", "gid"):
            write_id_map(kind, os.getppid(), (IdRange(0, 0, 65536),))
        os.write(mapped[1], b"x")
        os._exit(0)
    unshare(flags)
    os.write(left[1], b"x")
    os.read(mapped[0], 1)
    os.waitpid(mapper, 0)
    return work()
