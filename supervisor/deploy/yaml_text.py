"""Documents as YAML that every parser reads alike.

Kubernetes and podman read YAML 1.1, where ``on``, ``y``, ``0o7`` and ``1:30`` are no texts. So a
text is written plain only where no version of YAML could read anything else, as a block only where
no character needs an escape, and otherwise in double quotes. https://yaml.org/spec/1.2.2/
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeGuard

Json = dict[str, object]

# A list of texts that fits stays on one line: an argv reads better so.
FLOW_COLUMNS = 90

_PLAIN = re.compile(r"(--?)?[A-Za-z/][A-Za-z0-9_./-]*")
# What YAML 1.1 or 1.2 reads as a truth value or as nothing: https://yaml.org/type/bool.html
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")


def dump(documents: Iterable[Json]) -> str:
    """All documents, separated by ``---``; values are dict, list, str, int, bool.

    Raises TypeError for any other value.
    """
    return "---\n".join("".join(f"{line}\n" for line in _mapping(item)) for item in documents)


def _mapping(mapping: Json) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _entry(f"{_text(key)}:", value)


def _entry(start: str, value: object) -> Iterator[str]:
    match value:
        case dict() if value:
            yield start
            yield from _indented(_mapping(value))
        case list() if value:
            yield from _list(start, value)
        case str() if _is_block(value):
            yield f"{start} |"
            yield from _indented(value[:-1].split("\n"))
        case _:
            yield f"{start} {_scalar(value)}"


def _list(start: str, values: list[object]) -> Iterator[str]:
    if _are_texts(values):
        line = f"{start} [{', '.join(map(_text, values))}]"
        if len(line) <= FLOW_COLUMNS:
            yield line
            return
    yield start
    for value in values:
        if isinstance(value, dict) and value:
            first, *rest = _mapping(value)
            yield f"- {first}"
            yield from _indented(rest)
        else:
            yield f"- {_scalar(value)}"


def _are_texts(values: list[object]) -> TypeGuard[list[str]]:
    return all(isinstance(value, str) for value in values)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" if line else "" for line in lines)


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _text(value)
        case dict() if not value:
            return "{}"
        case list() if not value:
            return "[]"
        case _:
            raise TypeError(f"a manifest holds no {type(value).__name__} here")


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in '"\\':
        return f"\\{character}"
    return f"\\U{ord(character):08x}"


def _is_block(text: str) -> bool:
    """Whether a literal block holds the text without an indicator and without an escape."""
    if not text.endswith("\n") or text.endswith("\n\n") or text[0] in " \n":
        return False
    return all(line.isprintable() and not line.endswith(" ") for line in text[:-1].split("\n"))
