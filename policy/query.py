"""Query strings, and patterns for single values (query values, operation names, tools).

Dialect of value patterns (the table in policy/vectors.md is tested against this module):

    open      that value; upper and lower case differ
    1.*       a star is any run of characters, also none, also dots and slashes
    *         every value
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from policy import codes
from policy.glob import match_pieces

# A request head is at most 16 KiB; nobody sends a thousand fields by hand.
MAX_QUERY = 16384
MAX_FIELDS = 1024
MAX_PATTERN = 1024

Fields = tuple[tuple[str, str], ...]

_FOREIGN = re.compile(r"[^\x21\x22\x24-\x7e]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_GLOB_SYNTAX = re.compile(r"[?\[\]{}\\]")


def read_query(text: str) -> tuple[Fields, ...]:
    """The ways in which servers read the query ``text`` (without ``?``): one, or two.

    Fields are decoded once, ``+`` is a space, order and duplicates are kept. Some servers separate
    fields at ``;`` as well, so a query that has one has two readings: an allow rule must hold in
    both, a deny rule in either. Raises PatternError (``policy.query-*``).
    """
    if not text:
        return ((),)
    if len(text) > MAX_QUERY or text.count("&") + text.count(";") >= MAX_FIELDS:
        raise codes.refused(codes.QUERY_TOO_LONG, f"the query has {len(text)} characters")
    if foreign := _FOREIGN.search(text):
        raise codes.refused(codes.QUERY_CHARACTER, f"the query holds a raw {foreign[0]!r}")
    if bad := _BAD_ESCAPE.search(text):
        raise codes.refused(codes.QUERY_ESCAPE, f"the query holds {text[bad.start() :][:3]!r}")
    reading = _fields(text.split("&"))
    if ";" not in text:
        return (reading,)
    return reading, _fields(re.split("[&;]", text))


def _fields(parts: list[str]) -> Fields:
    found = []
    for part in parts:
        if part:
            key, _, value = part.partition("=")
            found.append((_decoded(key), _decoded(value)))
    return tuple(found)


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise codes.refused(codes.QUERY_ESCAPE, "the query's escapes are not UTF-8") from None


@dataclass(frozen=True, slots=True)
class QueryPattern:
    """A pattern for one value; ``pieces`` is ``text`` cut at its stars."""

    text: str
    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "QueryPattern":
        """Read a pattern of the dialect above; raises PatternError (``policy.pattern-*``).

        The empty pattern is the empty value (``?draft=``). ``**`` is the same as ``*`` where it is
        the whole pattern.
        """
        if len(text) > MAX_PATTERN:
            raise codes.refused(codes.PATTERN_TOO_LONG, f"the pattern has {len(text)} characters")
        if syntax := _GLOB_SYNTAX.search(text):
            raise codes.refused(codes.PATTERN_SYNTAX, f"{text!r} holds {syntax[0]!r}")
        if "**" in text and text != "**":
            raise codes.refused(codes.PATTERN_DOUBLE_STAR, f"{text!r} holds '**'")
        text = "*" if text == "**" else text
        return cls(text, tuple(text.split("*")))

    def matches(self, value: str) -> bool:
        """Whether ``value`` (decoded) is one of those meant."""
        return match_pieces(self.pieces, value)
