"""What Python itself says in egress, as events: asyncio's log, and the error that ends the process.

Otherwise these are lines of their own kind among the records on stderr, and nobody who reads
'events' hears of them. structlog turns an exception into data; no local variable is ever in it.
"""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, NoReturn

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from supervisor.events.fault_codes import INTERNAL_ERROR, LIBRARY_WARNING
from supervisor.events.vocabulary import Event, Fault, Why

FRAMES = 16  # of each exception in a chain: half of them the outermost, half the innermost


class Faults(logging.Handler):
    """Takes what is logged at warning or above; ``tell`` is for an exception that ends us."""

    def __init__(self, process: str, emit: Callable[[Event], None]) -> None:
        super().__init__(logging.WARNING)
        self._process = process
        self._emit = emit
        transformer = ExceptionDictTransformer(show_locals=False, max_frames=FRAMES)
        self._logger: Any = structlog.wrap_logger(
            None,
            processors=[structlog.processors.ExceptionRenderer(transformer), self._to_event],
            wrapper_class=structlog.BoundLogger,
        )

    def listen(self) -> None:
        """From now on everything that any library logs comes here."""
        logging.basicConfig(handlers=[self], force=True)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._logger.error(record.getMessage(), exc_info=record.exc_info)

    def tell(self, error: BaseException) -> None:
        """What ended the process."""
        self._logger.error("the process ends", exc_info=error)

    def _to_event(self, _: object, __: str, entry: MutableMapping[str, Any]) -> NoReturn:
        chain: list[dict[str, Any]] = entry.get("exception", [])
        kind, cause, code = "log", str(entry["event"]), LIBRARY_WARNING
        trace: tuple[str, ...] = ()
        if chain:
            first = _innermost(chain)
            kind, value, code = first["exc_type"], first["exc_value"], INTERNAL_ERROR
            cause = f"{cause}: {kind}: {value}" if value else f"{cause}: {kind}"
            frames = first["frames"]
            trace = tuple(f"{one['filename']}:{one['lineno']} {one['name']}" for one in frames)
        why = Why.of(code, cause)
        self._emit(Fault(process=self._process, kind=kind, why=why, trace=trace))
        raise structlog.DropEvent


def _innermost(chain: list[dict[str, Any]]) -> dict[str, Any]:
    """The exception that is told: of a TaskGroup's, the first task's own."""
    first = chain[0]
    while first.get("exceptions"):
        first = first["exceptions"][0][0]
    return first
