"""Request paths: one canonical form, which is judged *and* sent upstream; and patterns for it.

Canonical form: RFC 3986 normalised. Escapes of characters that need none are decoded, once; the
others stay, in upper case; dot segments are resolved, empty segments and ``;`` parameters dropped.
What servers read in different ways is refused. Canonicalising twice changes nothing.

Dialect of path patterns (the table in policy/vectors.md is tested against this module):

    /v1/users       that path; upper and lower case differ
    /v1/*/x, /a-*   a star is any run of characters inside one segment, also none
    /v1/**          everything below: /v1/ and /v1/a/b, but not /v1 itself
    /v1/**/x        any number of segments between, also none
    **              every path

Files (``binaries``) use the same dialect on the kernel's path of the executable, without escapes.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from policy import codes
from policy.glob import match_pieces, pieces_overlap

MAX_PATH = 4096  # bytes; the reference's limit, and PATH_MAX for files

Segment = tuple[str, ...]  # a segment cut at its stars, see policy.glob

# RFC 3986 section 3.3 pchar without '%' and ';': what stands in a canonical path unescaped.
_SAFE = r"A-Za-z0-9._~!$&'()*+,=:@\-"
_PLAIN = re.compile(rf"/[{_SAFE}/]*")
_NEEDS_ESCAPE = re.compile(
    r'["<>^`{|}\[\]]'
)  # sent raw by some clients; no server reads them twice
_FOREIGN = re.compile(rf"[^{_SAFE}/%;]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_TWICE = re.compile(r"%25(?:2[EF5]|5C|00)", re.IGNORECASE)
_SAFE_BYTE = re.compile(rf"[{_SAFE}]")
_GLOB_SYNTAX = re.compile(r"[?\[\]{}\\]")


def canonical_path(text: str, *, encoded_slash: bool = False) -> str:
    """The path that is compared with rules and sent upstream, without query.

    ``encoded_slash`` keeps ``%2F`` inside segments. Raises PatternError (``policy.path-*``).
    """
    if _PLAIN.fullmatch(text) and "//" not in text and "/." not in text and len(text) <= MAX_PATH:
        return text
    if len(text) > MAX_PATH:
        raise codes.refused(codes.PATH_TOO_LONG, f"the path has {len(text)} characters")
    if not text.startswith("/"):
        raise codes.refused(codes.PATH_FORM, f"{text[:80]!r} does not begin with '/'")
    escaped = _NEEDS_ESCAPE.sub(lambda found: f"%{ord(found[0]):02X}", text)
    if foreign := _FOREIGN.search(escaped):
        raise codes.refused(codes.PATH_CHARACTER, f"the path holds a raw {foreign[0]!r}")
    decoded = _decode_once(escaped, encoded_slash=encoded_slash)
    canonical = _resolve_segments(decoded.split("/")[1:])
    if len(canonical) > MAX_PATH:
        raise codes.refused(codes.PATH_TOO_LONG, f"the path has {len(canonical)} bytes")
    return canonical


def _decode_once(text: str, *, encoded_slash: bool) -> str:
    def replace(escape: re.Match[str]) -> str:
        if escape[1] is None:
            raise codes.refused(codes.PATH_ESCAPE, "a percent sign without two hexadecimal digits")
        byte = int(escape[1], 16)
        if byte < 0x20 or byte == 0x7F:
            raise codes.refused(codes.PATH_CONTROL, f"the path holds {escape[0]}")
        if byte == 0x5C or (byte == 0x2F and not encoded_slash):
            raise codes.refused(codes.PATH_ENCODED_SLASH, f"the path holds {escape[0]}")
        return chr(byte) if _SAFE_BYTE.match(chr(byte)) else escape[0].upper()

    decoded = _ESCAPE.sub(replace, text)
    if _TWICE.search(decoded):
        raise codes.refused(codes.PATH_DOUBLE_ENCODING, "the path is escaped twice")
    try:
        unquote_to_bytes(decoded).decode("utf-8")
    except UnicodeDecodeError:
        raise codes.refused(codes.PATH_UTF8, "the path's escapes are not UTF-8") from None
    return decoded


def _resolve_segments(segments: list[str]) -> str:
    """Drop parameters and empty segments, then resolve dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    is_directory = False
    for segment in segments:
        name, parameter, _ = segment.partition(";")
        parts = name.split("%2F")
        is_directory = name in ("", ".", "..")
        if (parameter and name in (".", "..")) or (
            len(parts) > 1 and any(part in (".", "..") for part in parts)
        ):
            raise codes.refused(
                codes.PATH_AMBIGUOUS_DOTS, f"the path holds the segment {segment!r}"
            )
        if name == "..":
            if not kept:
                raise codes.refused(codes.PATH_ABOVE_ROOT, "the path leads above its root")
            kept.pop()
        elif not is_directory:
            kept.append(name)
    return "/" + "/".join(kept) + ("/" if is_directory and kept else "")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern for request paths or for files.

    ``blocks`` are the segments between the ``**``: one block means that there is none. The empty
    last block of ``/a/**`` says that the pattern ends in ``**``. ``literal`` is the whole text of a
    pattern without stars; ``below`` the fixed beginning (with its slash) of one whose only stars
    are a final ``/**``.
    """

    text: str
    blocks: tuple[tuple[Segment, ...], ...]
    literal: str | None
    below: str | None

    @classmethod
    def parse(cls, text: str) -> "PathPattern":
        """Read a pattern for request paths; raises PatternError (``policy.pattern-*``).

        Whatever could never match, because canonical paths do not look like that, is refused.
        """
        if text == "**":
            return cls(text, ((), ()), None, "")
        _refuse_syntax(text)
        if syntax := _GLOB_SYNTAX.search(text):
            raise codes.refused(codes.PATTERN_SYNTAX, f"{text!r} holds {syntax[0]!r}")
        # Stars are safe characters: the pattern itself must be canonical, read as a path.
        fixed = re.sub(r"[^\x21-\x7e]+", lambda raw: _escaped(raw[0]), text)
        canonical = canonical_path(fixed, encoded_slash=True)
        if canonical != text:
            raise codes.refused(
                codes.PATTERN_NEVER_MATCHES, f"{text!r} matches nothing; {canonical!r} would"
            )
        return cls._of(text)

    @classmethod
    def parse_file(cls, text: str) -> "PathPattern":
        """Read a pattern for executables: an absolute path as the kernel reports it.

        Raises PatternError. Without a star every character but NUL stands for itself.
        """
        _refuse_syntax(text)
        if "\0" in text or ("*" in text and _GLOB_SYNTAX.search(text)):
            raise codes.refused(codes.PATTERN_SYNTAX, f"{text!r} mixes stars with other syntax")
        if any(segment in ("", ".", "..") for segment in text[1:].split("/")):
            raise codes.refused(
                codes.PATTERN_NEVER_MATCHES, f"{text!r} has an empty or dot segment"
            )
        return cls._of(text)

    @classmethod
    def _of(cls, text: str) -> "PathPattern":
        segments = text[1:].split("/")
        for left, right in zip(segments, [*segments[1:], ""], strict=True):
            if "**" in left and (left != "**" or right == "**"):
                raise codes.refused(codes.PATTERN_DOUBLE_STAR, f"{text!r}: the segment {left!r}")
        blocks: list[list[Segment]] = [[]]
        for segment in segments:
            if segment == "**":
                blocks.append([])
            else:
                blocks[-1].append(tuple(segment.split("*")))
        return cls(
            text,
            tuple(tuple(block) for block in blocks),
            None if "*" in text else text,
            text[:-2] if text.endswith("/**") and text.count("*") == 2 else None,
        )

    @property
    def specificity(self) -> int:
        """How narrow it is: its characters without stars (the reference's measure for routing)."""
        return len(self.text) - self.text.count("*")

    @property
    def has_encoded_slash(self) -> bool:
        """Whether it can match only where the endpoint allows ``%2F``."""
        return "%2F" in self.text

    def matches(self, path: str) -> bool:
        """Whether a canonical path (or the kernel's path of a file) is one of those meant."""
        if self.literal is not None:
            return path == self.literal
        if self.below is not None:
            return path.startswith(self.below)
        if not path.startswith("/"):
            return False
        return _match_blocks(self.blocks, path[1:].split("/"))

    def overlaps(self, other: "PathPattern") -> bool:
        """Whether some path could match both; never False where one does."""
        left, right = _flat(self), _flat(other)
        # Positions reachable in ``right`` after each element of ``left``: product of two automata.
        reachable = _skip(right, {0})
        for element in left:
            reachable = _skip(right, _advance(element, right, reachable))
        return len(right) in reachable


def _refuse_syntax(text: str) -> None:
    if not text:
        raise codes.refused(codes.PATTERN_EMPTY, "the pattern is empty")
    if len(text) > MAX_PATH:
        raise codes.refused(codes.PATTERN_TOO_LONG, f"the pattern has {len(text)} characters")
    if not text.startswith("/"):
        raise codes.refused(codes.PATTERN_PATH_FORM, f"{text!r} does not begin with '/'")


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _match_blocks(blocks: tuple[tuple[Segment, ...], ...], segments: list[str]) -> bool:
    """First block at the start, last at the end, the others at the leftmost place that is left."""
    first, last = blocks[0], blocks[-1]
    if len(blocks) == 1:
        return len(segments) == len(first) and _match_at(first, segments, 0)
    start, end = len(first), len(segments) - len(last)
    # A final ** stands for one segment or more, so that /a/** is what lies below /a.
    if start > end - (not last) or not _match_at(first, segments, 0):
        return False
    if not _match_at(last, segments, end):
        return False
    for block in blocks[1:-1]:
        while start + len(block) <= end and not _match_at(block, segments, start):
            start += 1
        start += len(block)
        if start > end - (not last):
            return False
    return True


def _match_at(block: tuple[Segment, ...], segments: list[str], start: int) -> bool:
    for offset, pieces in enumerate(block):
        if not match_pieces(pieces, segments[start + offset]):
            return False
    return True


# For ``overlaps``: a pattern as a flat list, where None is ``**`` in the middle (any number of
# segments). A final ``**`` is one arbitrary segment and then any number.
_ANY: Segment = ("", "")


def _flat(pattern: PathPattern) -> list[Segment | None]:
    flat: list[Segment | None] = []
    for place, block in enumerate(pattern.blocks):
        if place:
            flat.append(None)
        flat.extend(block)
    if len(pattern.blocks) > 1 and not pattern.blocks[-1]:
        flat.insert(-1, _ANY)
    return flat


def _skip(right: list[Segment | None], places: set[int]) -> set[int]:
    """The same places, and those behind a ``**`` that stands for nothing."""
    return places | {p + 1 for p in places if p < len(right) and right[p] is None}


def _advance(element: Segment | None, right: list[Segment | None], places: set[int]) -> set[int]:
    """Where ``right`` can stand after ``element`` of the other pattern was used up."""
    if element is None:
        # ** may swallow whatever right still has to offer.
        return set(range(min(places), len(right) + 1)) if places else set()
    found = set()
    for place in places:
        if place == len(right):
            continue
        facing = right[place]
        if facing is None:
            found.add(place)
        elif pieces_overlap(element, facing):
            found.add(place + 1)
    return found
