"""The one parser of user and group ids.

A number has exactly one spelling, so that no two programs can read two numbers out of one text:
``su-exec`` once took an unparsable user for root, Rust takes ``+1000``, C tools take ``01000`` for
octal 512, and Python takes ``٣`` for 3.
"""

from supervisor.errors import Refusal
from supervisor.identity import codes

# 2^32-1 means "leave unchanged" to chown(2) and setresuid(2).
MAX_ID = 4_294_967_294
# Below it distributions keep the accounts of their services (login.defs(5), SYS_UID_MAX 999).
FIRST_ORDINARY_ID = 1000
# The kernel shows every unmapped owner as this one (/proc/sys/kernel/overflowuid).
OVERFLOW_ID = 65534
# useradd(8): user names may be up to 32 characters long.
MAX_NAME = 32
# A text in a message is cut here: it may come from a hostile image, and may be 128 KiB long.
MAX_QUOTED = 64

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME_REST = _NAME_START | frozenset("0123456789-.")


def quote(text: str) -> str:
    """``text`` for a message: in quotes, printable ASCII only, cut after 64 characters."""
    cut = "" if len(text) <= MAX_QUOTED else " (cut)"
    return ascii(text[:MAX_QUOTED]) + cut


def canonical_number(text: str) -> int | None:
    """The number that ``text`` spells in canonical ASCII decimal, or None; 0 to 4294967294."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_ID)):
        return None
    if text[0] == "0" and text != "0":
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of an account; a name never looks like a number."""
    return 0 < len(text) <= MAX_NAME and text[0] in _NAME_START and _NAME_REST.issuperset(text)


def parse_id(text: str, source: str) -> int:
    """The id that ``text`` spells, 1 to 4294967294; ``source`` names the input in messages.

    Raises Refusal ``identity.bad-id``, ``identity.out-of-range`` or ``identity.root``.
    """
    if not (text.isascii() and text.isdigit()):
        raise Refusal(codes.BAD_ID, f"{source} is {quote(text)}, not a decimal number")
    if text == "0":
        raise Refusal(codes.ROOT, f"{source} is 0")
    if text[0] == "0":
        raise Refusal(codes.BAD_ID, f"{source} is {quote(text)}, which has a leading zero")
    number = canonical_number(text)
    if number is None:
        raise Refusal(codes.OUT_OF_RANGE, f"{source} is {quote(text)}, more than {MAX_ID}")
    return number


def parse_reference(text: str, source: str) -> int | str:
    """An id as int, or the name of an account as str, still to be looked up.

    Raises Refusal as ``parse_id`` does, and ``identity.root`` for the name ``root`` whatever number
    an account file gives it.
    """
    if not is_name(text):
        if not text:
            raise Refusal(codes.BAD_ID, f"{source} is empty")
        if text.isascii() and text.isdigit():
            return parse_id(text, source)
        raise Refusal(
            codes.BAD_ID, f"{source} is {quote(text)}, neither a decimal number nor a name"
        )
    if text == "root":
        raise Refusal(codes.ROOT, f"{source} is 'root'")
    return text


def id_warning(what: str, number: int) -> str | None:
    """What an operator should know about the id, which is allowed nonetheless."""
    if number < FIRST_ORDINARY_ID:
        return (
            f"{what} {number} is below {FIRST_ORDINARY_ID}: files of the image's own services may "
            "belong to it"
        )
    if number == OVERFLOW_ID:
        return f"{what} {number} is the overflow id: files of every unmapped owner look like its"
    return None
