"""Connected TCP sockets on loopback, and patient helpers to talk through them."""

import socket
import struct
import threading

DEADLINE_S = 20.0


def tcp_pair():
    """Two ends of one TCP connection; the first is the one that connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for side in (near, far):
        side.settimeout(DEADLINE_S)
        side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def read_all(side):
    """Everything until the orderly end."""
    pieces = []
    while piece := side.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(side, count):
    data = b""
    while len(data) < count:
        piece = side.recv(count - len(data))
        assert piece, f"ended after {len(data)} of {count} bytes"
        data += piece
    return data


def reset(side):
    """Close with a TCP reset."""
    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()


class Background:
    """A function in a thread whose result, or exception, is asked for later."""

    def __init__(self, function, *arguments):
        self._outcome = None
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, *arguments), daemon=True)
        self._thread.start()

    def _run(self, function, *arguments):
        try:
            self._outcome = function(*arguments)
        except BaseException as error:
            self._error = error

    def result(self):
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "still running"
        if self._error is not None:
            raise self._error
        return self._outcome
