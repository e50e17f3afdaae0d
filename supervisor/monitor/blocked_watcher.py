"""The watcher of the fence: reads what NFLOG tells about refused packets, and makes records of it.

A process of its own, because the heads of packets are the workload's bytes: the monitor, which
holds privileges, passes records on without reading them, and a flood does not keep egress from its
work. It keeps three descriptors, no file, no capability, and a few system calls.
"""

import gc
import os
import select
import socket
import time
from typing import NamedTuple, NoReturn

from supervisor.egress.process import HEARTBEAT_S, confine, record_stream, shed_privileges
from supervisor.events.event_metrics import FenceMetrics
from supervisor.events.metrics_page import write_page
from supervisor.events.stream import EventStream
from supervisor.kernel import filters
from supervisor.kernel.close_range import close_all_but
from supervisor.monitor.blocked_packets import BlockedPackets
from supervisor.monitor.last_words import say

ALIVE = b"H"  # between the frames of records, which are longer


def watch(
    *,
    uid: int | None,
    nflog: int,
    channel: int,
    log: bool,
    log_json: bool,
    log_level: str,
    sequence: int,
    metrics: int | None,
) -> NoReturn:
    """Be the watcher, in a fork of the monitor; ``uid``: None where there is none to change to.

    Records go to ``channel``, a SOCK_SEQPACKET, and with ``log`` to stderr; ``sequence`` is the last
    number that an earlier watcher used, ``metrics`` a page of supervisor.events.metrics_page.
    """
    status = 1
    try:
        gc.disable()  # it makes no cycles, and looking for some would copy the monitor's pages
        shed_privileges(uid)
        close_all_but({2, nflog, channel} | ({metrics} if metrics is not None else set()))
        # Before the filter: Python asks the kernel what these are, and the stream imports.
        packets, monitor = socket.socket(fileno=nflog), socket.socket(fileno=channel)
        written = (log_json, log_level) if log else None
        counted = FenceMetrics()
        stream = record_stream(
            "watcher",
            records=monitor,
            written=written,
            sequence=sequence,
            observe=counted.observe,
        )
        confine(filters.watcher())
        _serve(packets, monitor, stream, _Told(counted, metrics))
    except BaseException as error:  # noqa: BLE001 - a forked child must never unwind into the monitor
        say(channel, error)
    finally:
        os._exit(status)


class _Told(NamedTuple):
    """What is counted, and where it is told, if anywhere."""

    counted: FenceMetrics
    page: int | None

    def tell(self, overruns: int) -> None:
        if self.page is not None:
            write_page(self.page, self.counted.text(overruns=overruns))


def _serve(
    packets: socket.socket, monitor: socket.socket, stream: EventStream, told: _Told
) -> NoReturn:
    reader = BlockedPackets(packets, stream.emit)
    poll = select.poll()
    poll.register(packets, select.POLLIN)
    beat_at = time.monotonic()
    while True:
        if poll.poll(max(0.0, beat_at - time.monotonic()) * 1000):
            reader.on_readable()
        if time.monotonic() >= beat_at:
            beat_at = time.monotonic() + HEARTBEAT_S
            stream.tick()
            told.tell(reader.overruns)
            _say_alive(monitor)


def _say_alive(monitor: socket.socket) -> None:
    try:
        monitor.send(ALIVE)
    except BlockingIOError:
        return  # there is more to hear than the monitor has read yet
