"""How the supervisor refuses: a stable code, the cause, the remedy; and any error in words.

Every code is declared once, in the ``codes.py`` of the room that raises it, so that
``sandbox-supervisor explain CODE`` can print what it means without raising it.

    Exception
    ├─ Refusal              we decided not to go on; code + cause + remedy for a person
    └─ OSError
       └─ kernel.libc.SyscallError   the kernel said no; carries the name of the call
"""

from collections.abc import Iterator
from typing import NamedTuple

# Of an error that nobody expected, in one line: so many of its innermost places.
SHORT_FRAMES = 4
# Of what it says: an error may quote whatever it met, and its words go through pipes and packets.
MAX_SAID = 2000


class Code(NamedTuple):
    """A stable reason code: ``room.what``, what it means, and what usually helps."""

    name: str
    meaning: str
    remedy: str


class Refusal(Exception):  # noqa: N818 - a refusal is the field's word for a deliberate "no"
    """The supervisor decided not to go on.

    ``cause`` states the facts of this very case; ``remedy`` overrides the code's general one.
    """

    def __init__(self, code: Code, cause: str, remedy: str | None = None) -> None:
        super().__init__(f"{code.name}: {cause}")
        self.code = code
        self.cause = cause
        self.remedy = code.remedy if remedy is None else remedy

    def as_dict(self) -> dict[str, str]:
        """The JSON object that every command prints under ``error``."""
        return {"code": self.code.name, "cause": self.cause, "remedy": self.remedy}


def in_short(error: BaseException) -> str:
    """The error and its innermost places in one line, for a cause."""
    places = tuple(places_of(error))[-SHORT_FRAMES:]
    return words_of(error) + "".join(f"; at {place}" for place in reversed(places))


def words_of(error: BaseException) -> str:
    """Its kind, and the beginning of what it says, if anything."""
    try:
        said = str(error)[:MAX_SAID]
    except Exception:  # noqa: BLE001 - an exception's own text must not hide the exception
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def places_of(error: BaseException) -> Iterator[str]:
    """Where it passed, the innermost last: ``file:line function``."""
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield f"{code.co_filename}:{step.tb_lineno} {code.co_name}"
        step = step.tb_next
