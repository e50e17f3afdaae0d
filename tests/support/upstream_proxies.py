"""A stand-in for a corporate proxy: CONNECT, credentials, and whatever answer a test wants."""

import contextlib
import socket
import threading

from support.egress_lab import DEADLINE_S, OUTSIDE, read_head, run

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
PORT = 3128


class StandInProxy:
    """Listens outside of a lab, which is at ``where``; ``heads`` are the requests it got, ``answers`` what it says in turn.

    ``names`` maps what it is asked for to what it dials; an answer that is not ESTABLISHED is sent
    and the connection closed.
    """

    def __init__(self, lab, *, where=OUTSIDE, names=None, answers=()):
        self.heads = []
        self._names = names or {}
        self._answers = list(answers)
        self._lab = lab
        self._where = where
        lab.outside.do(lambda: run("ip", "link", "set", "lo", "up"))  # for its own addresses
        lab.listen(PORT, self._serve)

    def _serve(self, near):
        head = read_head(near)
        self.heads.append(head.decode())
        answer = self._answers.pop(0) if self._answers else ESTABLISHED
        if answer != ESTABLISHED:
            with near:
                near.sendall(answer)
            return
        target = head.split(b" ")[1].decode()
        host, _, port = self._names.get(target, target).rpartition(":")
        assert host == self._where, host
        far = self._lab.outside.do(lambda: socket.create_connection((host, int(port)), DEADLINE_S))
        near.sendall(answer)
        with near, far:
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join(DEADLINE_S)


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
