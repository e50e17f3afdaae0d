"""Ask a running monitor: one JSON object on a line, answers one on each line.

    {"ask": "events" | "status" | "report" | "prove", ...}

The answers to ``events`` are in supervisor.events.follow; the others answer with one object, an
``error`` (code, cause, remedy) among them. The monitor closes after the last.
"""

import socket
from collections.abc import Iterator
from typing import Any

from supervisor.errors import Code, Refusal
from supervisor.events.follow import MAX_ANSWER, FrameTooLong, LineReader, parse_object
from supervisor.events.text import as_json
from supervisor.monitor import control_codes as codes

CONTROL_SOCKET = "/run/sandbox-supervisor/control.sock"
# The monitor answers from memory; what takes longer than this is a monitor that hangs.
ANSWER_S = 30.0
RECEIVE_SIZE = 1 << 16
# A containment report with all its paths is the longest single answer.
MAX_LINE = max(MAX_ANSWER, 1 << 20)


def connect(path: str = CONTROL_SOCKET) -> socket.socket:
    """A connected stream. Raises Refusal where nobody listens, or not for us."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    try:
        sock.connect(path)
    except PermissionError as error:
        sock.close()
        raise Refusal(codes.NOT_ALLOWED, f"{path}: {error.strerror}") from error
    except OSError as error:
        sock.close()
        raise Refusal(codes.NOT_RUNNING, f"{path}: {error.strerror}") from error
    return sock


def ask(sock: socket.socket, request: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Send one request, yield the answers. Raises Refusal for an ``error`` and broken frames.

    Once ``follow`` is answered, silence may last for ever.
    """
    reader = LineReader(MAX_LINE)
    try:
        sock.sendall(as_json(request).encode("ascii") + b"\n")
        if request.get("follow"):
            sock.settimeout(None)
        while data := sock.recv(RECEIVE_SIZE):
            for line in reader.feed(data):
                yield _checked(parse_object(line))
    except FrameTooLong as error:
        raise Refusal(codes.PROTOCOL, str(error)) from error
    except ValueError as error:
        raise Refusal(codes.PROTOCOL, f"not a line of the protocol: {error}") from error
    except OSError as error:
        raise Refusal(codes.PROTOCOL, f"the connection broke: {error}") from error


def ask_one(sock: socket.socket, request: dict[str, object]) -> dict[str, Any]:
    """The single answer to a request. Raises Refusal."""
    for answer in ask(sock, request):
        return answer
    raise Refusal(codes.PROTOCOL, "the supervisor closed without an answer")


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if not isinstance(error, dict):
        return answer
    code, cause, remedy = (str(error.get(key, "")) for key in ("code", "cause", "remedy"))
    raise Refusal(Code(code, cause, remedy), cause)
