"""Words of the static half that stand for more than their letters: directories and identities."""

import re

from policy import document_codes as codes
from policy.findings import PatternError

# PATH_MAX of Linux, in bytes.
MAX_PATH_BYTES = 4096
# uid_t has 32 bits, and 2^32-1 means "no change" to setresuid(2).
MAX_ID = 4294967294
_DECIMAL = re.compile(r"[1-9][0-9]{0,9}")


def parse_directory(text: str) -> str:
    """Normalise an absolute path: one slash between names, none at the end, no '.'.

    Raises PatternError where it is not absolute, too long, or holds '..'.
    """
    if not text.startswith("/"):
        message = f"{text[:80]!r} is not absolute"
        raise PatternError(codes.BAD_PATH.name, message, "Begin it with '/'.")
    if len(text.encode()) > MAX_PATH_BYTES:
        message = f"a path of {len(text.encode())} bytes, at most {MAX_PATH_BYTES}"
        raise PatternError(codes.BAD_PATH.name, message, "Shorten it.")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names:
        message = f"{text[:80]!r} holds '..'"
        raise PatternError(codes.BAD_PATH.name, message, "Write the directory it leads to.")
    return "/" + "/".join(names)


def parse_identity(text: str) -> str:
    """``sandbox``, or a number in canonical decimal from 1 to MAX_ID; raises PatternError."""
    if text == "sandbox" or (_DECIMAL.fullmatch(text) and int(text) <= MAX_ID):
        return text
    message = f"{text[:80]!r} is neither 'sandbox' nor a number from 1 to {MAX_ID}"
    raise PatternError(codes.BAD_IDENTITY.name, message, codes.BAD_IDENTITY.remedy)


def inside(path: str, outer: str) -> bool:
    """``path`` is ``outer`` or below it; both normalised."""
    return path == outer or path.startswith(outer.rstrip("/") + "/")
