"""An error that nobody expected, as an event: its kind, its words, its places, no variable.

Light: the monitor has neither ``traceback`` nor structlog.
"""

from supervisor.errors import Code, places_of, words_of
from supervisor.events.fault_codes import INTERNAL_ERROR
from supervisor.events.vocabulary import Fault, Why


def fault_of(process: str, error: BaseException, code: Code = INTERNAL_ERROR) -> Fault:
    """The event for an error that ``process`` met."""
    return Fault(
        process=process,
        kind=type(error).__name__,
        why=Why.of(code, words_of(error)),
        trace=tuple(places_of(error)),
    )
