"""Values that somebody else chose, made fit for a record: whole, bounded, without secrets.

A record is one line of ASCII in both its forms, so nothing in a value can end the line, move a
terminal's cursor, turn the reading direction, or be invalid UTF-8.
"""

import re
from collections.abc import Callable

# Names, paths and causes beyond this are cut and marked. Other characters than printable ASCII
# take up to twelve bytes in JSON, so fewer of them fit into the same room.
ASCII_CHARS = 512
OTHER_CHARS = 128

_WORD = re.compile(r"[A-Za-z0-9_./:@%+,~*\-]+")
# What follows these words in free text is nobody's business. Deliberately broad: a cause that is
# redacted too much is still a cause.
_SECRETS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*://)[^/\s@]*@"
    r"|\b(?P<auth>bearer|basic|digest|negotiate)\s+[^\s,;]+"
    r"|\b(?P<header>(?:proxy-)?authorization|(?:set-)?cookie|x-api-key)\s*[:=][^\r\n]*"
    r"|\b(?P<key>[\w\-]*(?:password|passwd|secret|token|api[_\-]?key|credential)[\w\-]*)\s*[=:]\s*\S+"
    r"|\?[^\s'\"]*=[^\s'\"]*",
    re.IGNORECASE,
)
REDACTED = "[redacted]"


def clean(text: str) -> str:
    """``text`` cut to its bound, every character that UTF-8 cannot carry spelled out.

    Only lone surrogates (bytes that were no UTF-8) need it; all others are escaped on output.
    """
    if text.isascii() and text.isprintable():
        return text if len(text) <= ASCII_CHARS else _cut(text, ASCII_CHARS)
    if len(text) > OTHER_CHARS:
        text = _cut(text, OTHER_CHARS)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def free_text(text: str) -> str:
    """``clean`` text without credentials and queries: for causes, which quote what they met."""
    # Cut first, generously: the expression must not run over megabytes.
    return clean(_SECRETS.sub(_redact, text[: 4 * ASCII_CHARS]))


def url_path(target: str) -> str:
    """The path of a request target; that there was a query is told, what it said is not."""
    path = target
    for mark in "?#":
        before, found, _ = path.partition(mark)
        if found:
            path = f"{before}?{REDACTED}"
            break
    return clean(path)


def host_name(authority: str) -> str:
    """A host without ``user:password@`` before it."""
    return clean(authority.rpartition("@")[2])


def quoted(value: object) -> str:
    """A value for the readable line: bare if it is a plain word, else a JSON string in ASCII."""
    text = value if isinstance(value, str) else str(value)
    if _WORD.fullmatch(text):
        return text
    return as_json(text)


def as_json(value: object) -> str:
    """``value`` as one line of printable ASCII JSON. Raises ValueError for NaN and infinities."""
    return _encoder()(value).replace("\x7f", "\\u007f")


def warm_up() -> None:
    """Import what the first record needs: a confined process cannot later."""
    _encoder()


def _encoder() -> Callable[[object], str]:
    global _encode  # noqa: PLW0603 - one encoder for the life of the process
    if _encode is None:
        from json import JSONEncoder

        _encode = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
    return _encode


_encode: Callable[[object], str] | None = None


def _cut(text: str, limit: int) -> str:
    return f"{text[:limit]}...({len(text)} characters)"


def _redact(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind is None:
        return f"?{REDACTED}"
    if kind == "scheme":
        return f"{match['scheme']}{REDACTED}@"
    return f"{match[kind]} {REDACTED}"
