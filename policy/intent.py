"""What someone wants to do: the questions that the decision core answers."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class CallerProblem(Enum):
    """Why it is not known, or not certain, which program asks (decided by egress and monitor)."""

    VANISHED = "vanished"
    UNREADABLE = "unreadable"
    OVER_BUDGET = "over-budget"
    CHANGED = "changed"


class Caller(NamedTuple):
    """One process that holds the connection.

    ``binary`` and ``ancestors`` are paths as the kernel reports them (``/proc/PID/exe``), parents
    in any order. ``digests`` are the SHA-256 of the binary and of each ancestor in the same order,
    lower-case hexadecimal; what is None or missing is not known, and no pin accepts it.
    """

    binary: str | None = None
    ancestors: tuple[str, ...] = ()
    digests: tuple[str | None, ...] = ()
    problem: CallerProblem | None = None


class ConnectionIntent(NamedTuple):
    """A connection that a process asks for.

    ``host`` is the name that the client used (CONNECT target, URI host, or the name behind a
    synthetic address), never one read from SNI; it need not be canonical. The caller's fields are
    those of Caller; ``others`` are further processes that hold the same socket, and all of them
    must be allowed.
    """

    host: str
    port: int
    binary: str | None = None
    ancestors: tuple[str, ...] = ()
    digests: tuple[str | None, ...] = ()
    problem: CallerProblem | None = None
    others: tuple[Caller, ...] = ()


class RequestIntent(NamedTuple):
    """One HTTP request on a connection.

    ``path`` is the request target up to ``?`` and ``query`` what follows it, both as received;
    ``path`` is ``*`` for OPTIONS on the server as a whole.
    """

    connection: ConnectionIntent
    method: str
    path: str
    query: str = ""
