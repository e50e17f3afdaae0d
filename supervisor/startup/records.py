"""Open the socket of ``events`` and ``status``, before there is a workload to take its name."""

from collections.abc import Callable

from supervisor.errors import Refusal
from supervisor.events.status import Status
from supervisor.monitor.loop import Loop
from supervisor.monitor.record_server import RecordServer
from supervisor.startup import codes
from supervisor.startup.inquiry import may_ask


def serve_records(loop: Loop, status: Callable[[RecordServer], Status]) -> RecordServer:
    """From now on answer whoever enters this container. Raises Refusal."""
    try:
        return RecordServer(loop, status=status, may_ask=may_ask)
    except OSError as error:
        raise Refusal(codes.ADDRESS_TAKEN, f"events: {error.strerror}") from error
