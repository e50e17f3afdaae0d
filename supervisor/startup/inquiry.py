"""Questions to a running sandbox: its report, and the proof made again.

An abstract unix socket in the container's own network namespace, named after its mount namespace:
who enters the container (podman exec) finds it, the workload in its own network namespace cannot
reach it, and where it shares ours it is known by its parents. Requests are one word, answers one
JSON object; nothing is kept between them and nothing in a request is a path, a name or a number.
"""

import os
import socket
from collections.abc import Callable, Mapping

from supervisor.errors import Refusal
from supervisor.kernel import procfs
from supervisor.monitor.loop import Loop
from supervisor.startup import codes

REPORT, PROVE = b"report", b"prove"
WORD_BYTES = 16
ANSWER_BYTES = 1 << 20  # a report is some 20 KiB; the socket's buffer is asked to take it whole
WAITING = 4  # people who ask at the same time; who comes later ends the one who waits longest
BACKLOG = 64  # between two turns of the loop; a full one turns callers away
CREDENTIALS_BYTES = 12  # struct ucred of unix(7): pid, uid, gid
DEEPEST_TREE = 1024  # generations between a process and us; deeper is refused like a descendant


def address() -> str:
    """The socket's name, the same for everybody in this container's mount namespace."""
    return f"\0sandbox-supervisor-{os.stat('/proc/self/ns/mnt').st_ino}"


class Inquiry:
    """Answers with what ``answer(word)`` returns; runs in the monitor's loop, never waits.

    Made before the workload, so that nobody else can have the name; serves once ``serve`` is called.
    Raises Refusal where the name is taken.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._answer: Callable[[bytes], Mapping[str, object]] = lambda _: {}
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._listener.bind(address())
        except OSError as error:
            cause = f"the abstract unix socket {address()[1:]!r}: {error.strerror}"
            raise Refusal(codes.ADDRESS_TAKEN, cause) from error

    def serve(self, answer: Callable[[bytes], Mapping[str, object]]) -> None:
        """From now on answer."""
        self._answer = answer
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._loop.watch(self._listener.fileno(), self._on_caller)

    def _on_caller(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except OSError:
            return  # gone again
        if not may_ask(caller):
            caller.close()
            return
        caller.setblocking(False)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_BYTES)
        if len(self._open) == WAITING:
            self._end(self._open[0])  # it has had its time and said nothing
        self._open.append(caller)
        self._loop.watch(caller.fileno(), lambda: self._on_word(caller))

    def _on_word(self, caller: socket.socket) -> None:
        from json import dumps

        try:
            word = caller.recv(WORD_BYTES)
            if word in (REPORT, PROVE):
                caller.send(dumps(self._answer(word)).encode())
        except OSError:
            pass  # it went away, or does not read: its own loss
        finally:
            self._end(caller)

    def _end(self, caller: socket.socket) -> None:
        self._open.remove(caller)
        self._loop.unwatch(caller.fileno())
        caller.close()


def may_ask(caller: socket.socket) -> bool:
    """Root or our own uid, in sight, and not a process that we started."""
    pid, uid = _peer(caller)
    return pid != 0 and uid in (0, os.geteuid()) and _is_beside_us(pid)


def may_read_metrics(caller: socket.socket) -> bool:
    """The same, or root of another container that was given the socket's directory.

    The workload's processes are always in sight: they are below us.
    """
    pid, uid = _peer(caller)
    return uid in (0, os.geteuid()) and (pid == 0 or _is_beside_us(pid))


def _is_beside_us(pid: int) -> bool:
    """Whether a process of this container is none that we started."""
    for _ in range(DEEPEST_TREE):
        try:
            pid = procfs.read_start_and_parent(pid)[1]
        except (OSError, ValueError):
            return False
        if pid in (0, os.getppid()):
            return True
        if pid == os.getpid():
            return False
    return False


def _peer(connected: socket.socket) -> tuple[int, int]:
    """Process and uid at the other end, when it connected or listened."""
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES)
    return int.from_bytes(found[:4], "little"), int.from_bytes(found[4:8], "little")


def ask(word: bytes, deadline_s: float) -> object:
    """From another process of the container: the answer. Raises OSError, ValueError."""
    from json import loads

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(deadline_s)
        asking.connect(address())
        if _peer(asking)[1] not in (0, os.geteuid()):
            raise ConnectionRefusedError("somebody else listens there")
        try:
            asking.send(word)
            answer = asking.recv(ANSWER_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    if not answer:
        raise ConnectionRefusedError("the supervisor does not answer this process")
    return loads(answer)
