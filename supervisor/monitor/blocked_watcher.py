"""The watcher of the fence: reads what NFLOG tells about refused packets, and passes sums on.

A process of its own, because the heads of packets are the workload's bytes: the monitor, which
holds privileges, sees numbers only, and a flood does not keep egress from its work. It keeps three
descriptors, no file, no capability, and a dozen system calls.
"""

import errno
import gc
import os
import select
import socket
import time
from typing import NoReturn

from supervisor.egress.process import confine, shed_privileges
from supervisor.kernel import filters, nflog
from supervisor.kernel.close_range import close_range
from supervisor.monitor.blocked_messages import Blocked, Kind, encode, encode_alive
from supervisor.monitor.blocked_sums import BlockedSums

HEARTBEAT_S = 5.0  # a third of what the monitor takes for a hang; each one wakes an idle machine
# Datagrams between two looks at the clock; the fence logs at most 150 in the first second.
READS_PER_TURN = 64


def watch(*, uid: int | None, log: int, channel: int) -> NoReturn:
    """Be the watcher, in a fork of the monitor; ``uid``: None where there is none to change to."""
    status = 1
    try:
        gc.disable()  # it makes no cycles, and looking for some would copy the monitor's pages
        shed_privileges(uid)
        _keep_only({2, log, channel})
        # Opened before, as Python asks the kernel what they are.
        sockets = socket.socket(fileno=log), socket.socket(fileno=channel)
        confine(filters.watcher())
        _serve(*sockets)
    except BaseException:  # noqa: BLE001 - a forked child must never unwind into the monitor
        import sys

        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _keep_only(kept: set[int]) -> None:
    start = 0
    for descriptor in sorted(kept):
        if descriptor > start:
            close_range(start, descriptor - 1)
        start = descriptor + 1
    close_range(start)


def _serve(log: socket.socket, channel: socket.socket) -> NoReturn:
    sums = BlockedSums()
    poll = select.poll()
    poll.register(log, select.POLLIN)
    _send(channel, encode_alive())
    beat_at = time.monotonic() + HEARTBEAT_S
    while True:
        until = beat_at if sums.due_at is None else min(beat_at, sums.due_at)
        poll.poll(max(0.0, until - time.monotonic()) * 1000)
        now = time.monotonic()
        told = [*_read(log, sums, now), *sums.due(now)]
        sums.lost(sum(one.times for one in told if not _send(channel, encode(one))), now)
        if now >= beat_at:
            _send(channel, encode_alive())
            beat_at = now + HEARTBEAT_S


def _read(log: socket.socket, sums: BlockedSums, now: float) -> list[Blocked]:
    """What of the waiting packets is told at once."""
    told = []
    for _ in range(READS_PER_TURN):
        try:
            packets = nflog.receive(log)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            sums.lost(1, now)  # at least one: the kernel does not say how many it dropped
            continue
        if not packets:
            break
        first = (sums.add(_kind(packet), now) for packet in packets)
        told += [one for one in first if one is not None]
    return told


def _kind(packet: nflog.Blocked) -> Kind:
    return Kind(
        rule=packet.prefix,
        uid=packet.uid,
        gid=packet.gid,
        protocol=packet.protocol,
        destination=packet.destination,
        port=packet.port,
    )


def _send(channel: socket.socket, packet: bytes) -> bool:
    """Whether the monitor has room for it."""
    try:
        channel.send(packet)
    except BlockingIOError:
        return False
    return True
