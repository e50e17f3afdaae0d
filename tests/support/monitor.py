"""The monitor's side of the owner channel, played by the test: same packets, own answers."""

import array
import os
import socket
import threading

from supervisor.egress.owner_messages import (
    QUESTIONS_SIZE,
    Answer,
    Holder,
    Outcome,
    decode_questions,
    encode_answer,
)


class PlayedMonitor:
    """Answers every question with ``reply(question)``: (answer, paths to open)."""

    def __init__(self, reply=None):
        self.theirs, self._mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asked = []
        self.reply = reply or self.this_process
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def this_process(self, question):
        return found(question, os.getpid())

    def _serve(self):
        while packet := self._mine.recv(QUESTIONS_SIZE):
            with self._busy:
                for question in decode_questions(packet):
                    self.asked.append(question)
                    reply = self.reply(question)
                    if reply is not None:
                        self.send(*reply)

    def settle(self):
        """Wait until every descriptor of an answer that somebody has is closed here."""
        with self._busy:
            pass

    def send(self, answer, paths):
        """An answer with the programs at ``paths`` opened."""
        descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
        self.send_opened(answer, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def send_opened(self, answer, descriptors):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._mine.sendmsg([encode_answer(answer)], rights if descriptors else [])

    def close(self):
        # shutdown, not close: a thread blocked in recv on a closed descriptor would stay there.
        self._mine.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._mine.close()
        self.theirs.close()


def found(question, *pids, paths=None):
    """One holder for each pid, with its real executable, or with the given path."""
    paths = paths or [os.readlink(f"/proc/{pid}/exe") for pid in pids]
    holders = tuple(
        Holder(pid=pid, start_time=1, executable=index, ancestors=())
        for index, pid in enumerate(pids)
    )
    answer = Answer(
        question_id=question.question_id,
        outcome=Outcome.FOUND,
        executables=tuple(map(os.fsencode, paths)),
        holders=holders,
    )
    return answer, paths
