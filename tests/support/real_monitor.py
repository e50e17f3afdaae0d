"""The monitor's side of egress' channels in a process of its own, for measuring: the real search.

Records are read and thrown away, as the monitor's ring would take them.
"""

import os
import select
import socket
import time

from supervisor.egress.owner_messages import QUESTIONS_SIZE, decode_questions, encode_answer
from supervisor.events.frames import MAX_FRAME
from supervisor.monitor.owners import Owners


class RealMonitor:
    """``theirs`` is egress' end for questions, ``records`` its end for records; ``pid`` the process.

    ``fork`` runs a function in a process that ends with the measurement; ``ours`` are not workload.
    """

    def __init__(self, fork, ours):
        self.theirs, mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.records, drained = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = fork(lambda: serve(mine, drained, ours))
        mine.close()
        drained.close()


def take(end, owners):
    """All questions that came."""
    while True:
        try:
            packet = end.recv(QUESTIONS_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not packet:
            os._exit(0)
        for question in decode_questions(packet):
            owners.ask(question)


def serve(owners_end, records_end, ours):
    """Search and drain until egress is gone."""
    owners = Owners(ours=ours)
    waiting = select.poll()
    for end in (owners_end, records_end):
        waiting.register(end, select.POLLIN)
    while True:
        due = owners.deadline()
        timeout_ms = None if due is None else max(0.0, due - time.monotonic()) * 1000
        for number, _ in waiting.poll(timeout_ms):
            if number == records_end.fileno():
                records_end.recv(MAX_FRAME)
                continue
            take(owners_end, owners)
        for found in owners.work():
            socket.send_fds(owners_end, [encode_answer(found.answer)], found.descriptors)
