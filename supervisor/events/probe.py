"""``/healthz``, ``/readyz`` and ``/metrics`` on a unix socket: bytes in, bytes out. Sans-io.

HTTP/1.1 as far as a probe needs it: one GET (or HEAD) per connection, which is then closed. A
request is small, complete, and has no body; everything else gets its status and the end.

Source: RFC 9112 (HTTP/1.1), RFC 9110 sections 9.3 and 15.
"""

from collections.abc import Callable
from typing import NamedTuple

# curl sends 80 bytes, kubelet 150.
MAX_HEAD = 4096
TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Health(NamedTuple):
    """``why_not`` names what is missing; empty where all is well."""

    alive: bool
    ready: bool
    why_not: str = ""


class Probe:
    """One connection. Feed it until it answers; then send the answer and close."""

    def __init__(self, *, health: Callable[[], Health], metrics: Callable[[], str]) -> None:
        self._health = health
        self._metrics = metrics
        self._head = b""

    def feed(self, data: bytes) -> bytes | None:
        """The whole answer, once the request is complete; None while it is not.

        ``b""`` means that the peer ended; it gets what its request deserves.
        """
        self._head += data
        if len(self._head) > MAX_HEAD:
            return _answer(431, "the request is too long")
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return None if data else _answer(400, "the request is not complete")
        return self._answer_to(self._head[:end].split(b"\r\n", 1)[0])

    def _answer_to(self, line: bytes) -> bytes:
        words = line.split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            return _answer(400, "not an HTTP/1.1 request")
        method, target, _ = words
        if method not in (b"GET", b"HEAD"):
            return _answer(405, "only GET", extra="Allow: GET, HEAD\r\n")
        answer = self._serve(target)
        return answer if method == b"GET" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _serve(self, target: bytes) -> bytes:
        match target:
            case b"/healthz":
                health = self._health()
                return _answer(200 if health.alive else 503, health.why_not or "ok")
            case b"/readyz":
                health = self._health()
                is_ready = health.alive and health.ready
                return _answer(200 if is_ready else 503, health.why_not or "ok")
            case b"/metrics":
                return _answer(200, self._metrics(), kind=METRICS)
            case _:
                return _answer(404, "there are /healthz, /readyz and /metrics")


def _answer(status: int, text: str, *, kind: str = TEXT, extra: str = "") -> bytes:
    body = (text if text.endswith("\n") else f"{text}\n").encode("utf-8", "backslashreplace")
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode("ascii") + body
