"""Ask a running monitor: one JSON object on a line, answers one on each line.

    {"ask": "events" | "status" | "report" | "prove", ...}

The answers to ``events`` are in supervisor.events.follow; the others answer with one object, an
``error`` (code, cause, remedy) among them. The monitor closes after the last.
"""

import os
import socket
from collections.abc import Iterator
from typing import Any

from supervisor.errors import Code, Refusal
from supervisor.events.follow import MAX_ANSWER, FrameTooLong, LineReader, parse_object
from supervisor.events.text import as_json
from supervisor.monitor import control_codes as codes

# The monitor answers from memory; what takes longer than this is a monitor that hangs.
ANSWER_S = 30.0
RECEIVE_SIZE = 1 << 16
# A containment report with all its paths is the longest single answer.
MAX_LINE = max(MAX_ANSWER, 1 << 20)


def default_address() -> str:
    """The abstract name of the monitor's socket, the same in one container's mount namespace.

    The workload has another mount or network namespace, or is refused by its parents.
    """
    return f"\0sandbox-supervisor-{os.stat('/proc/self/ns/mnt').st_ino}-events"


def connect(path: str | None = None) -> socket.socket:
    """A connected stream. Raises Refusal where nobody listens, or not for us."""
    path = path or default_address()
    shown = path.replace("\0", "@")  # as ss(8) shows abstract names
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    try:
        sock.connect(path)
    except PermissionError as error:
        sock.close()
        raise Refusal(codes.NOT_ALLOWED, f"{shown}: {error.strerror}") from error
    except OSError as error:
        sock.close()
        raise Refusal(codes.NOT_RUNNING, f"{shown}: {error.strerror}") from error
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
        if reader.has_rest:
            raise Refusal(codes.PROTOCOL, "the supervisor ended in mid-answer")
    except FrameTooLong as error:
        raise Refusal(codes.PROTOCOL, str(error)) from error
    except ValueError as error:
        raise Refusal(codes.PROTOCOL, f"not a line of the protocol: {error}") from error
    except OSError as error:
        raise Refusal(codes.PROTOCOL, f"the connection broke: {error}") from error


def ask_events(sock: socket.socket, *, denied: bool, follow: bool) -> Iterator[dict[str, Any]]:
    """The records, oldest first; with ``follow`` until the sandbox ends. Raises Refusal.

    Without ``follow`` the answer says where it ends, so a part is never taken for the whole.
    """
    for answer in ask(sock, {"ask": "events", "denied": denied, "follow": follow}):
        if "cut" in answer:
            cut = answer["cut"]
            missed = cut.get("missed") if isinstance(cut, dict) else None
            raise Refusal(codes.CUT, f"{missed} records were missed")
        if "end" in answer:
            return
        record = answer.get("event")
        if not isinstance(record, dict):
            raise Refusal(codes.PROTOCOL, "an answer without a record")
        yield record
    if not follow:
        raise Refusal(codes.PROTOCOL, "the supervisor ended in mid-answer")


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
