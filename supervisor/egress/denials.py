"""What a refused client is told, in HTTP: a status and a JSON body that a program can read."""

import json
from dataclasses import dataclass
from http import HTTPStatus

from supervisor.errors import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A refusal of one connection or request; ``request_id`` is the one in the event.

    ``rule`` names the entry of the policy that decided, where one did.
    """

    code: Code
    cause: str
    request_id: str
    status: int = 403
    rule: str | None = None
    next_step: str | None = None

    def body(self) -> bytes:
        """The JSON object, one line."""
        fields = {
            "error": "refused",
            "code": self.code.name,
            "reason": self.cause,
            "rule": self.rule,
            "next_step": self.code.remedy if self.next_step is None else self.next_step,
            "request_id": self.request_id,
        }
        return json.dumps(fields).encode("ascii") + b"\n"


def denial_response(denial: Denial, *, method: str, keep_alive: bool) -> bytes:
    """The whole response. To HEAD it is the head alone; a CONNECT reply has a body like others."""
    body = denial.body()
    phrase = HTTPStatus(denial.status).phrase
    head = (
        f"HTTP/1.1 {denial.status} {phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Sandbox-Request-Id: {denial.request_id}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if method == "HEAD" else body)
