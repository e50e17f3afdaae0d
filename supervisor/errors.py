"""How the supervisor refuses: a stable code, the cause, the remedy.

Every code is declared once, in the ``codes.py`` of the room that raises it, so that
``sandbox-supervisor explain CODE`` can print what it means without raising it.

    Exception
    ├─ Refusal              we decided not to go on; code + cause + remedy for a person
    └─ OSError
       └─ kernel.libc.SyscallError   the kernel said no; carries the name of the call
"""

from typing import NamedTuple


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
