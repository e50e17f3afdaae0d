"""What the policy language looks like, as data: which keys exist where, and what stands behind them.

One description does three things, so that they cannot drift apart: it reads a document's tree into
typed values and reports everything that does not fit, it becomes the JSON Schema for editors, and it
carries the sentence that explains each key. The shapes themselves are in policy.grammar.

The classes here are compared by identity and never printed; without the methods for that they cost
the start of every sandbox half as much.

``read`` returns the value, or BAD after it reported why there is none; the caller goes on, so that
all findings of a document come at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from policy import document_codes as codes
from policy.document import Mapping, Node, Sequence, Word
from policy.findings import Origin, PatternError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from policy.codes import Code
    from policy.findings import Place, Report

T = TypeVar("T")
JsonSchema = dict[str, object]


class _Bad:
    """The type of BAD."""


BAD: Final = _Bad()

# What a reader of YAML 1.1 or 1.2 may take for something other than text. Such a word is text only
# in quotes, so that every reader sees the same. Linear: no repeated group can match in two ways.
_AMBIGUOUS = re.compile(
    r"~|null|true|false|yes|no|on|off|y|n"
    r"|[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:e[-+]?[0-9]+)?"
    r"|[-+]?0(?:x[0-9a-f_]+|o[0-7_]+|b[01_]+)"
    r"|[-+]?\.inf|\.nan"
    r"|[-+]?[0-9]+(?::[0-9]{1,2})+(?:\.[0-9]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


class Item(NamedTuple):
    """One sound item of a list, with its place."""

    value: object
    node: Node
    path: str


class Shape(Protocol):
    """What may stand at one place of the document."""

    def read(self, node: Node, path: str, report: Report) -> object:
        """Return the value of ``node``, or BAD once the report says why there is none."""

    def schema(self) -> JsonSchema:
        """Return the same as JSON Schema (draft 2020-12)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Text:
    """A word. ``parse`` turns it into the value and raises PatternError where it cannot.

    ``number`` accepts unquoted digits, for keys whose text is always decimal digits anyway.
    """

    words: tuple[str, ...] = ()
    parse: Callable[[str], object] | None = None
    most: int = 4096
    number: bool = False
    empty: bool = False

    def read(self, node: Node, path: str, report: Report) -> object:
        """A str, or what ``parse`` made of it."""
        if not isinstance(node, Word):
            return _wrong_kind(node, path, report, "a text")
        text = node.text
        if node.plain and not text:
            return _wrong_kind(node, path, report, "a text")
        if self.words:
            return self._word(node, path, report)
        if node.plain and _AMBIGUOUS.fullmatch(text) and not (self.number and text.isdigit()):
            message = f"{shown(text)} unquoted is not text to every reader of YAML"
            remedy = f'Write "{shown(text)}".'
            return _report(codes.WRONG_KIND, node, path, report, message, remedy=remedy)
        if not text and not self.empty:
            return _report(codes.OUT_OF_RANGE, node, path, report, "the text is empty")
        if len(text) > self.most:
            message = f"a text of {len(text)} characters, at most {self.most}"
            return _report(codes.OUT_OF_RANGE, node, path, report, message)
        if not text.isprintable():
            message = f"{text[:80]!r} holds control or invisible characters"
            return _report(codes.UNPRINTABLE, node, path, report, message)
        return self._parse(text, node, path, report)

    def _word(self, node: Word, path: str, report: Report) -> object:
        if node.text in self.words:
            return node.text
        if report.full:  # the search for a likely word is not free
            return BAD
        message = f"{node.text[:80]!r} is not one of the words known here"
        listed = ", ".join(self.words)
        remedy = f"Write one of: {listed}.{did_you_mean(node.text, self.words)}"
        return _report(codes.UNKNOWN_WORD, node, path, report, message, remedy=remedy)

    def _parse(self, text: str, node: Word, path: str, report: Report) -> object:
        if self.parse is None:
            return text
        try:
            return self.parse(text)
        except PatternError as error:
            report.add_pattern_error(error, node, path)
            return BAD

    def schema(self) -> JsonSchema:
        """A string, or one of an enumeration."""
        if self.words:
            return {"enum": list(self.words)}
        kinds: object = ["string", "integer"] if self.number else "string"
        bounds: JsonSchema = {} if self.empty else {"minLength": 1}
        return {"type": kinds, **bounds, "maxLength": self.most}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Integer:
    """A number in plain decimal digits, ``least`` to ``most`` inclusive."""

    least: int
    most: int

    def read(self, node: Node, path: str, report: Report) -> object:
        """An int."""
        if not isinstance(node, Word) or not node.plain or not _INTEGER.fullmatch(node.text):
            return _wrong_kind(node, path, report, "a number in plain decimal digits")
        number = int(node.text)
        if not self.least <= number <= self.most:
            message = f"{number} is not between {self.least} and {self.most}"
            return _report(codes.OUT_OF_RANGE, node, path, report, message)
        return number

    def schema(self) -> JsonSchema:
        """An integer within bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Boolean:
    """``true`` or ``false``, in exactly these spellings."""

    def read(self, node: Node, path: str, report: Report) -> object:
        """A bool."""
        if isinstance(node, Word) and node.plain and node.text in ("true", "false"):
            return node.text == "true"
        return _wrong_kind(node, path, report, "true or false (in exactly this spelling)")

    def schema(self) -> JsonSchema:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ListOf:
    """A list of ``item``; items that do not fit are reported and left out."""

    item: Shape
    least: int = 0
    most: int = 256

    def read(self, node: Node, path: str, report: Report) -> object:
        """A list of Item."""
        if not isinstance(node, Sequence):
            return _wrong_kind(node, path, report, "a list; an empty one is written []")
        if not self.least <= len(node.items) <= self.most:
            message = f"a list of {len(node.items)}, between {self.least} and {self.most} may stand"
            return _report(codes.OUT_OF_RANGE, node, path, report, message)
        items = []
        for index, item in enumerate(node.items):
            below = f"{path}[{index}]"
            value = self.item.read(item, below, report)
            if value is not BAD:
                items.append(Item(value, item, below))
        return items

    def schema(self) -> JsonSchema:
        """An array."""
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.least,
            "maxItems": self.most,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MapOf:
    """A map whose keys the author chooses, each matching ``key`` (linear regular expression)."""

    item: Shape
    key: str
    least: int = 0
    most: int = 256

    def read(self, node: Node, path: str, report: Report) -> object:
        """A dict of key text to value."""
        if not isinstance(node, Mapping):
            return _wrong_kind(node, path, report, "a map; an empty one is written {}")
        if not self.least <= len(node.entries) <= self.most:
            message = (
                f"a map of {len(node.entries)}, between {self.least} and {self.most} may stand"
            )
            return _report(codes.OUT_OF_RANGE, node, path, report, message)
        values = {}
        for key, value in node.entries:
            below = join(path, key.text)
            if key.text and not re.fullmatch(self.key, key.text):
                message = f"the name {key.text[:80]!r} does not match {self.key}"
                report.add(codes.KEY, key, below, message)
            elif (found := self.item.read(value, below, report)) is not BAD:
                values[key.text] = found
        return values

    def schema(self) -> JsonSchema:
        """An object with free keys."""
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.key})$"},
            "additionalProperties": self.item.schema(),
            "minProperties": self.least,
            "maxProperties": self.most,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Key:
    """One key of a record: what stands behind it, and the sentence that explains it."""

    shape: Shape
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RecordOf:
    """A map with known keys; any other is an error."""

    keys: dict[str, Key]

    def read(self, node: Node, path: str, report: Report) -> object:
        """A Record."""
        if not isinstance(node, Mapping):
            return _wrong_kind(node, path, report, f"a map of {', '.join(self.keys)}")
        record = Record(node=node, path=path, report=report)
        for name, value in node.entries:
            below = join(path, name.text)
            key = self.keys.get(name.text)
            if key is None:
                self._unknown(name, below, report)
                continue
            record.places[name.text] = value
            found = key.shape.read(value, below, report)
            if found is not BAD:
                record.values[name.text] = found
        for text, key in self.keys.items():
            if key.required and text not in record.places:
                report.add(codes.MISSING_KEY, node, path, f"{text!r} is not stated")
        return record

    def _unknown(self, name: Word, path: str, report: Report) -> None:
        if not name.text or report.full:  # a key that is no word was reported by the document
            return
        listed = ", ".join(self.keys)
        remedy = f"Known here: {listed}.{did_you_mean(name.text, tuple(self.keys))}"
        report.add(codes.UNKNOWN_KEY, name, path, f"unknown key {name.text[:80]!r}", remedy=remedy)

    def schema(self) -> JsonSchema:
        """An object with exactly these keys."""
        known = {
            name: {"description": key.about, **key.shape.schema()}
            for name, key in self.keys.items()
        }
        required = [name for name, key in self.keys.items() if key.required]
        demand: JsonSchema = {"required": required} if required else {}
        return {
            "type": "object",
            "properties": known,
            "additionalProperties": False,
            **demand,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Either:
    """A word or a record: the short and the long form of the same."""

    word: Text
    record: RecordOf

    def read(self, node: Node, path: str, report: Report) -> object:
        """What the word's or the record's shape makes of it."""
        shape: Shape = self.record if isinstance(node, Mapping) else self.word
        return shape.read(node, path, report)

    def schema(self) -> JsonSchema:
        """Any of the two."""
        return {"anyOf": [self.word.schema(), self.record.schema()]}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Anything:
    """A map that is not ours to understand; its value is the node itself."""

    def read(self, node: Node, path: str, report: Report) -> object:
        """The node."""
        return node if isinstance(node, Mapping) else _wrong_kind(node, path, report, "a map")

    def schema(self) -> JsonSchema:
        """Any object."""
        return {"type": "object"}


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Record:
    """The values of one RecordOf, by key; a key that did not fit has a place and no value."""

    node: Mapping
    path: str
    report: Report
    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, Node] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """Where the record stands."""
        return self.at(self.node)

    def at(self, node: Node) -> Origin:
        """Where a node of this document stands."""
        return Origin(file=self.report.file, line=node.line, column=node.column)

    def has(self, name: str) -> bool:
        """The document states the key, soundly or not."""
        return name in self.places

    def get(self, name: str, kind: type[T]) -> T | None:
        """The value, or None when it is not stated or did not fit."""
        value = self.values.get(name)
        return value if isinstance(value, kind) else None

    def many(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """The values of a list; empty when it is not stated."""
        return tuple(item.value for item in self.items(name) if isinstance(item.value, kind))

    def items(self, name: str) -> list[Item]:
        """The items of a list, with their places; empty when it is not stated."""
        values = self.values.get(name)
        return values if isinstance(values, list) else []

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean."""
        value = self.values.get(name)
        return value if isinstance(value, bool) else default

    def records(self, name: str) -> dict[str, Record]:
        """The records of a map with free keys."""
        values = self.values.get(name)
        if not isinstance(values, dict):
            return {}
        return {key: value for key, value in values.items() if isinstance(value, Record)}

    def refuse(self, code: Code, name: str, message: str, *, remedy: str | None = None) -> None:
        """Report an error at the value of ``name`` ('' for the record itself)."""
        place: Place = self.places.get(name, self.node)
        path = join(self.path, name) if name else self.path
        self.report.add(code, place, path, message, remedy=remedy)

    def warn(self, code: Code, name: str, message: str, *, remedy: str | None = None) -> None:
        """Report a warning at the value of ``name``."""
        place: Place = self.places.get(name, self.node)
        path = join(self.path, name)
        self.report.add(code, place, path, message, remedy=remedy, severity="warning")


def join(path: str, name: str) -> str:
    """The path of a key below ``path``; odd names are quoted, so that it stays one line."""
    shown = name if re.fullmatch(r"[\w@%/*.-]{1,80}", name, re.ASCII) else repr(name[:80])
    return f"{path}.{shown}" if path else shown


def did_you_mean(text: str, known: tuple[str, ...]) -> str:
    """' Did you mean …?' or nothing."""
    import difflib

    folded = {word.casefold().replace("-", "_"): word for word in known}
    asked = text[:80].casefold().replace("-", "_")
    close = difflib.get_close_matches(asked, folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def _report(
    code: Code, node: Node, path: str, report: Report, message: str, *, remedy: str | None = None
) -> _Bad:
    report.add(code, node, path, message, remedy=remedy)
    return BAD


def _wrong_kind(node: Node, path: str, report: Report, wanted: str) -> _Bad:
    if isinstance(node, Word):
        found = (shown(node.text) if node.plain else repr(node.text[:80])) or "nothing"
    else:
        found = "a map" if isinstance(node, Mapping) else "a list"
    message = f"{found} stands where {wanted} is wanted"
    return _report(codes.WRONG_KIND, node, path, report, message)
