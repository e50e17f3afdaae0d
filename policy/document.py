"""Bytes to a tree of words, lists and maps, each with its place: YAML with one reading only.

What readers of YAML disagree about is refused instead of being decided: duplicate keys, tags,
directives, merge keys, several documents. Words keep their spelling; whether ``443`` is a number is
asked where a number is wanted. Only the parser of ruamel.yaml is used, never its constructor, so no
text can become an object. The parser is iterative and its events are counted, which bounds time and
memory; an alias counts as often as what it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy import document_codes as codes
from policy.findings import shown

if TYPE_CHECKING:
    from ruamel.yaml.events import AliasEvent, CollectionStartEvent, Event, ScalarEvent
    from ruamel.yaml.tag import Tag

    from policy.findings import Report

# A ConfigMap, the largest thing that carries a policy, holds 1 MiB.
MAX_BYTES = 1 << 20
# The deepest sound place, an alternative of a query matcher, is at depth 11.
MAX_DEPTH = 32
# A policy of 10 000 endpoints has half as many words, lists and maps.
MAX_NODES = 100_000
# Longer than any path or host; the longest sound word is a file system path.
MAX_WORD = 8192


@dataclass(slots=True, eq=False, repr=False)
class Word:
    """A scalar: its text, and whether it was written without quotes."""

    text: str
    plain: bool
    line: int
    column: int
    size: int = 1


@dataclass(slots=True, eq=False, repr=False)
class Sequence:
    """A list."""

    items: list[Node]
    line: int
    column: int
    size: int = 1


@dataclass(slots=True, eq=False, repr=False)
class Mapping:
    """A map; its keys are distinct words, in the order of the file."""

    entries: list[tuple[Word, Node]]
    line: int
    column: int
    size: int = 1


Node = Word | Sequence | Mapping


@dataclass(slots=True, eq=False, repr=False)
class Start:
    """The file as a whole, as a place."""

    line: int = 0
    column: int = 0


def parse(data: bytes, report: Report) -> Node | None:
    """Read one YAML document; None when nothing of it is usable (the report says why)."""
    text = _decode(data, report)
    if text is None:
        return None
    return _Composer(report).compose(text)


def _decode(data: bytes, report: Report) -> str | None:
    """Strict UTF-8 without byte-order mark and NUL, at most MAX_BYTES."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data)} bytes, at most {MAX_BYTES} are read"
        report.add(codes.TOO_LARGE, Start(), "", message)
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        report.add(codes.NOT_TEXT, Start(line, column), "", message)
        return None
    for character, name in (("\ufeff", "a byte-order mark"), ("\0", "a NUL character")):
        if character in text:
            line = text.count("\n", 0, text.index(character)) + 1
            report.add(codes.NOT_TEXT, Start(line, 1), "", f"the file holds {name}")
            return None
    return text


class _TooMuchError(Exception):
    """A bound of this module was passed; reading stops."""


class _Composer:
    """Builds the tree from the parser's events with a stack of its own, never recursively."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.open: list[Sequence | Mapping] = []
        self.keys: list[Word | None] = []  # per open collection: the key that awaits its value
        self.names: list[set[str]] = []  # per open collection: the keys it has so far
        self.anchors: dict[str, Node] = {}
        self.pending_anchors: list[str | None] = []
        self.root: Node | None = None
        self.nodes = 0

    def compose(self, text: str) -> Node | None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            for event in YAML(typ="safe", pure=True).parse(text):
                self._take(event)
        except _TooMuchError:
            return None
        except YAMLError as error:
            place = Start(*_place_of(error))
            self.report.add(codes.SYNTAX, place, "", _first_problem(error))
            return None
        except (ValueError, OverflowError, AttributeError, IndexError, TypeError) as error:
            # The parser's own slips on impossible escapes and indicators; what it cannot read is
            # a syntax error of the document, wherever in the parser it surfaced.
            self.report.add(codes.SYNTAX, Start(), "", f"unreadable YAML ({shown(str(error))})")
            return None
        return self.root

    def _take(self, event: Event) -> None:
        from ruamel.yaml import events

        match event:
            case events.ScalarEvent():
                self._word(event)
            case events.MappingStartEvent() | events.SequenceStartEvent():
                self._start(event)
            case events.MappingEndEvent() | events.SequenceEndEvent():
                self._end()
            case events.AliasEvent():
                self._alias(event)
            case events.DocumentStartEvent():
                if event.version is not None or event.tags:
                    self.report.add(codes.TAG, Start(1, 1), "", "the file begins with a directive")
                if self.root is not None:
                    place = Start(event.start_mark.line + 1, 1)
                    self.report.add(codes.MANY_DOCUMENTS, place, "", "a second document begins")
                    raise _TooMuchError

    def _word(self, event: ScalarEvent) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        word = Word(event.value, event.style is None, line, column)
        if len(word.text) > MAX_WORD:
            message = f"a text of {len(word.text)} characters, at most {MAX_WORD} are read"
            self.report.add(codes.TOO_LARGE, word, "", message)
            word.text = ""
        self._check_tag(event.ctag, word)
        if event.anchor is not None:
            self.anchors[event.anchor] = word
        self._place(word)

    def _start(self, event: CollectionStartEvent) -> None:
        from ruamel.yaml import events

        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        kind = Mapping if isinstance(event, events.MappingStartEvent) else Sequence
        node = kind([], line, column)
        self._check_tag(event.ctag, node)
        if len(self.open) >= MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} deep"
            self.report.add(codes.TOO_DEEP, node, "", message)
            raise _TooMuchError
        self.open.append(node)
        self.keys.append(None)
        self.names.append(set())
        self.pending_anchors.append(event.anchor)

    def _end(self) -> None:
        node = self.open.pop()
        self.keys.pop()
        self.names.pop()
        anchor = self.pending_anchors.pop()
        if anchor is not None:  # only now: a collection cannot hold itself
            self.anchors[anchor] = node
        self._place(node)

    def _alias(self, event: AliasEvent) -> None:
        place = Start(event.start_mark.line + 1, event.start_mark.column + 1)
        target = self.anchors.get(event.anchor)
        if target is None:
            message = f"'*{shown(event.anchor)}' refers to nothing that ended before it"
            remedy = "Quote a word that begins with '*'; an anchor cannot hold itself."
            self.report.add(codes.SYNTAX, place, "", message, remedy=remedy)
            raise _TooMuchError
        self.nodes += target.size - 1
        self._place(target)

    def _check_tag(self, tag: Tag | None, node: Node) -> None:
        if tag is not None:
            # As it stands in the file. str(tag) is built letter by letter, each time from the
            # start: 17 s for a tag of a megabyte.
            written = (tag.handle or "") + tag.suffix
            self.report.add(codes.TAG, node, "", f"tag '{shown(written)}'")

    def _place(self, node: Node) -> None:
        """Put a finished node where it belongs: root, list item, key or value."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES} values, aliases counted by what they stand for"
            self.report.add(codes.TOO_LARGE, node, "", message)
            raise _TooMuchError
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.size += node.size
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self.keys[-1]) is None:
            self.keys[-1] = self._key(node)
        else:
            self.keys[-1] = None
            if key.text not in self.names[-1]:
                self.names[-1].add(key.text)
                parent.entries.append((key, node))

    def _key(self, node: Node) -> Word:
        """The key of a map; what cannot be one is reported and stands as an empty word."""
        if not isinstance(node, Word) or not node.text or not node.text.isprintable():
            self.report.add(codes.KEY, node, "", "a key must be a plain word")
            return Word("", plain=False, line=node.line, column=node.column)
        if node.text == "<<" and node.plain:
            self.report.add(codes.MERGE_KEY, node, "", "the merge key '<<'")
        elif node.text in self.names[-1]:
            self.report.add(codes.DUPLICATE_KEY, node, "", f"{node.text!r} is stated twice")
        return node


def _place_of(error: Exception) -> tuple[int, int]:
    """Line and column of a syntax error, (0, 0) where the parser does not say."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return (0, 0) if mark is None else (mark.line + 1, mark.column + 1)


def _first_problem(error: Exception) -> str:
    """The parser's complaint in one printable line."""
    said = getattr(error, "problem", None) or getattr(error, "context", None) or "unreadable"
    return shown(" ".join(str(said).split()))
