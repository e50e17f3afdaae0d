"""An error that nobody expected, as an event: its kind, its words, its places, no variable.

Light: the monitor has neither ``traceback`` nor structlog.
"""

from collections.abc import Iterator

from supervisor.errors import Code
from supervisor.events.fault_codes import INTERNAL_ERROR
from supervisor.events.vocabulary import Fault, Why

SHORT_FRAMES = 4  # in one line: the innermost
# Of what it says: an error may quote whatever it met, and its words go through pipes and packets.
MAX_SAID = 2000


def fault_of(process: str, error: BaseException, code: Code = INTERNAL_ERROR) -> Fault:
    """The event for an error that ``process`` met."""
    return Fault(
        process=process,
        kind=type(error).__name__,
        why=Why.of(code, words_of(error)),
        trace=tuple(_places(error)),
    )


def in_short(error: BaseException) -> str:
    """The error and its innermost places in one line, for a cause."""
    places = tuple(_places(error))[-SHORT_FRAMES:]
    return words_of(error) + "".join(f"; at {place}" for place in reversed(places))


def words_of(error: BaseException) -> str:
    """Its kind, and the beginning of what it says, if anything."""
    try:
        said = str(error)[:MAX_SAID]
    except Exception:  # noqa: BLE001 - an exception's own text must not hide the exception
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _places(error: BaseException) -> Iterator[str]:
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield f"{code.co_filename}:{step.tb_lineno} {code.co_name}"
        step = step.tb_next
