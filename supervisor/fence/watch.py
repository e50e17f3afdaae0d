"""Was the fence changed after it stood? For whoever holds the ``changes`` socket; no capability.

Only our own table counts: whatever others add elsewhere, what our chains drop stays dropped.
"""

import errno
import socket

from supervisor.fence.names import TABLE
from supervisor.kernel import nft_changes

# Datagrams read in one call; a flood of changes must not keep the reader from its other work.
AT_ONCE = 64


def changed(changes: socket.socket) -> bool:
    """Read what waits on a non-blocking ``changes`` socket: was our table touched?

    Notifications that were lost (ENOBUFS) count as touched. Somebody who changes the table
    rightfully (port sets) reads its own notifications away afterwards. Raises OSError.
    """
    touched = False
    for _ in range(AT_ONCE):
        try:
            tables = nft_changes.receive(changes)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True
        if tables is None:
            break
        touched = touched or TABLE in tables
    return touched
