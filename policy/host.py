"""Host names and addresses: one canonical form, computed once, before every comparison and every dial.

Dialect of host patterns (the table in policy/vectors.md is tested against this module):

    api.example.com          that name (case and one trailing dot do not matter)
    192.0.2.7, [2001:db8::1] that address; a name never matches it, whatever it resolves to
    *.example.com            exactly one label before the domain
    *-api.example.com        part of the first label, zero characters or more; never an xn-- label
    **.example.com           one label or more before the domain; '**' only as whole first label
    *.s3.*.amazonaws.com     a later star is a whole label

A pattern with stars ends in two literal labels or more, and they are no registry (co.uk).
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from policy import codes
from policy.findings import PatternError
from policy.glob import match_pieces, pieces_overlap

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters without the final dot.
MAX_NAME = 253
MAX_LABEL = 63

# What most names look like, canonical as they stand: one test for characters, hyphens and a last
# label that is no number. Possessive throughout, so its time is linear.
_SIMPLE_LABEL = r"[a-z0-9_]++(?:-++[a-z0-9_]++)*+"
_SIMPLE = re.compile(rf"(?:{_SIMPLE_LABEL}\.)*+(?=[a-z_]){_SIMPLE_LABEL}")
_LABEL = re.compile(r"[a-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTS = re.compile(r"[.\u3002\uff0e\uff61]")  # UTS 46: what browsers and resolvers read as a dot
_DELIMITERS = frozenset("/\\?#")


# Below a country's domain these are where anyone registers: *.co.uk is as broad as *.com. Not the
# whole public suffix list, which changes weekly; what no site of its own is called.
_REGISTRY_LABELS = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})


class Host(NamedTuple):
    """A destination's host in canonical form. A tuple, because one is made per connection.

    ``text`` is a lower-case name in A-labels without final dot, or the canonical text of
    ``address``; ``address`` is None for a name. An IPv4-mapped IPv6 address is the IPv4 address.
    """

    text: str
    address: Address | None = None


def canonical_host(text: str) -> Host:
    """The one form of ``text`` that is compared, resolved and dialled.

    Accepts a name (ASCII or international, at most one trailing dot), an IPv4 address in four
    decimal numbers, an IPv6 address with or without brackets. Raises PatternError with a
    ``policy.host-*`` code for everything else, above all for other spellings of IPv4 addresses,
    which resolvers accept (inet_aton(3)) and rules would not match.
    """
    if len(text) <= MAX_LABEL and _SIMPLE.fullmatch(text) and "xn--" not in text:
        return Host(text)
    # No spelling of this length shrinks to a name, and nothing below should have to read it.
    if len(text) > MAX_NAME * 4:
        raise codes.refused(codes.HOST_TOO_LONG, f"the host has {len(text)} characters")
    _refuse_foreign_characters(text)
    if text.startswith("[") or text.endswith("]"):
        return _bracketed(text)
    if ":" in text:
        return _ipv6(text)
    name = text[:-1] if text.endswith((".", "\u3002", "\uff0e", "\uff61")) else text
    # Lengths first: IDNA costs grow faster than its input (CVE-2022-45061).
    _check_lengths(_DOTS.split(name), shown=text)
    if name.isascii():
        name = name.lower()
        labels = name.split(".")
    else:
        labels = _mapped_labels(name, shown=text)
    labels = [_canonical_label(label, shown=text) for label in labels]
    _check_lengths(labels, shown=text)
    return _name_or_ipv4(".".join(labels), shown=text)


def import_tables() -> None:
    """Import what international names need, for a process that soon may not read files any more.

    Others leave it to the first such name: the tables cost 10 ms.
    """
    import encodings.punycode  # noqa: F401 - imported by the first str.encode("punycode")

    import idna.uts46data  # noqa: F401 - imported by the first mapping


def _refuse_foreign_characters(text: str) -> None:
    """One code for each way in which text pretends to be a host."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise codes.refused(codes.HOST_CONTROL, f"{text!r} holds {character!r}")
        if character.isspace():
            raise codes.refused(codes.HOST_SPACE, f"{text!r} holds white space")
        if character == "%":
            raise codes.refused(codes.HOST_PERCENT, f"{text!r} holds a percent sign")
        if character == "@":
            raise codes.refused(codes.HOST_USERINFO, f"{text!r} holds '@'")
        if character in _DELIMITERS:
            raise codes.refused(codes.HOST_DELIMITER, f"{text!r} holds {character!r}")


def _bracketed(text: str) -> Host:
    inner = text[1:-1]
    if not (text.startswith("[") and text.endswith("]")) or "[" in inner or "]" in inner:
        raise codes.refused(codes.HOST_BRACKET, f"{text!r} is not an address in brackets")
    try:
        return _ipv6(inner)
    except PatternError:
        raise codes.refused(codes.HOST_BRACKET, f"{text!r} holds no IPv6 address") from None


def _ipv6(text: str) -> Host:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise codes.refused(
            codes.HOST_DELIMITER, f"{text!r} holds ':' and is no IPv6 address"
        ) from None
    found: Address = address.ipv4_mapped or address
    return Host(str(found), found)


def _check_lengths(labels: list[str], *, shown: str) -> None:
    if not all(labels):
        raise codes.refused(codes.HOST_EMPTY, f"{shown!r} has an empty label")
    if max(map(len, labels)) > MAX_LABEL or sum(map(len, labels)) + len(labels) - 1 > MAX_NAME:
        raise codes.refused(codes.HOST_TOO_LONG, f"{shown[:80]!r} or one of its labels is too long")


def _mapped_labels(name: str, *, shown: str) -> list[str]:
    """UTS 46 applied once to the whole name; digits in disguise are refused, not translated."""
    import idna  # its tables are needed for international names only

    for character in name:
        folded = unicodedata.normalize("NFKC", character)
        if not character.isascii() and any(c.isascii() and c.isdigit() for c in folded):
            raise codes.refused(codes.HOST_DISGUISED_DIGITS, f"{shown!r} holds {character!r}")
    try:
        # STD3 rules off because '_' is used in names; _canonical_label checks what they would.
        return idna.uts46_remap(name, std3_rules=False).split(".")
    except idna.IDNAError as error:
        raise codes.refused(codes.HOST_IDNA, f"{shown!r}: {error}") from None


def _canonical_label(label: str, *, shown: str) -> str:
    """One label as it goes on the wire; ``label`` is lower case and mapped."""
    if label.isascii() and not label.startswith("xn--"):
        if not _LABEL.fullmatch(label) and label:
            raise codes.refused(codes.HOST_CHARACTER, f"{shown!r}: the label {label!r}")
        return label
    import idna

    try:
        # alabel() validates; for an xn-- label it demands that decoding and encoding gives it back.
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, ValueError) as error:
        raise codes.refused(codes.HOST_IDNA, f"{shown!r}: {error}") from None


def _name_or_ipv4(text: str, *, shown: str) -> Host:
    """The last decision: a name whose last label is a number is an address or is refused."""
    last = text[text.rfind(".") + 1 :]
    if not _NUMBER.fullmatch(last):
        if text[0] == "-" or text[-1] == "-" or "-." in text or ".-" in text:
            raise codes.refused(codes.HOST_CHARACTER, f"{shown!r}: a label begins or ends with '-'")
        return Host(text)
    try:
        address = ipaddress.IPv4Address(text)  # strict: four numbers, no leading zeros
    except ValueError:
        raise codes.refused(
            codes.HOST_NUMERIC, f"{shown!r} is a number, not four decimal ones"
        ) from None
    if shown != text:
        raise codes.refused(codes.HOST_NUMERIC, f"{shown!r} is another spelling of {text}")
    return Host(text, address)


def _refuse_stars(text: str, labels: list[str]) -> None:
    """Refuse stars where the dialect has none."""
    first, rest = labels[0], labels[1:]
    literal = labels[max(place for place, label in enumerate(labels) if "*" in label) + 1 :]
    is_registry = len(literal) == 2 and literal[0] in _REGISTRY_LABELS and len(literal[1]) == 2
    if len(literal) < 2 or is_registry:
        raise codes.refused(codes.PATTERN_HOST_BROAD, f"{text!r} matches too many names")
    if any("*" in label and label != "*" for label in rest) or ("**" in first and first != "**"):
        raise codes.refused(codes.PATTERN_HOST_STAR, f"{text!r} has a star inside a label")
    if "*" in first and (first.startswith("xn--") or not first.isascii()):
        raise codes.refused(codes.PATTERN_HOST_STAR, f"{text!r} has an international first label")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host of a policy: an exact one (``host`` set), or labels with stars.

    ``text`` is canonical and parses to an equal pattern. ``first`` is the first label cut at its
    star (None where it is no partial star); ``labels`` are the others, right to left, ``*`` for a
    whole-label star; ``is_deep`` says that the first label is ``**``.
    """

    text: str
    host: Host | None
    labels: tuple[str, ...] = ()
    first: tuple[str, ...] | None = None
    is_deep: bool = False

    @classmethod
    def parse(cls, text: str) -> "HostPattern":
        """Read a pattern of the dialect above; raises PatternError with code and remedy."""
        if "*" not in text:
            host = canonical_host(text)
            return cls(host.text, host)
        labels = text.removesuffix(".").lower().split(".")
        first = labels[0]
        _refuse_stars(text, labels)
        try:
            # With each star stood in for by a letter, the pattern must read as a name.
            wire = canonical_host(".".join(labels).replace("*", "a")).text.split(".")
        except PatternError as error:
            raise PatternError(error.code, f"{text!r}: {error.message}", error.remedy) from None
        known = ["*" if label == "*" else wire[place] for place, label in enumerate(labels)]
        is_cut = "*" in first and first != "*"
        return cls(
            ".".join([first, *known[1:]] if is_cut else known),
            None,
            labels=tuple(reversed(known[1:] if is_cut else known)),
            first=tuple(first.split("*")) if is_cut and first != "**" else None,
            is_deep=first == "**",
        )

    @property
    def is_exact(self) -> bool:
        """Whether it names one host."""
        return self.host is not None

    def matches(self, host: Host) -> bool:
        """Whether ``host`` is one that the pattern names.

        A star never stands for an address: a pattern ends in two literal labels, the last of which
        is no number.
        """
        if self.host is not None:
            return self.host.text == host.text
        return self.matches_labels(host.text.split(".")[::-1])

    def matches_labels(self, labels: list[str]) -> bool:
        """The same for the labels of a canonical name, right to left; only for a starred pattern."""
        for pattern, label in zip(self.labels, labels, strict=False):
            if pattern not in (label, "*"):
                return False
        return self.matches_rest(labels)

    def matches_rest(self, labels: list[str]) -> bool:
        """The number of labels and the first one, where ``self.labels`` are known to match."""
        extra = len(labels) - len(self.labels)
        if self.is_deep:
            return extra > 0
        if self.first is None:
            return extra == 0
        # A star in an xn-- label would match encoded text that nobody reads (RFC 6125 section 7.2).
        return (
            extra == 1
            and not labels[-1].startswith("xn--")
            and match_pieces(self.first, labels[-1])
        )

    def overlaps(self, other: "HostPattern") -> bool:
        """Whether some host could match both; never False where one does."""
        if self.host is not None:
            return other.matches(self.host)
        if other.host is not None:
            return self.matches(other.host)
        shorter, longer = sorted((self, other), key=lambda pattern: len(pattern.labels))
        for left, right in zip(shorter.labels, longer.labels, strict=False):
            if left != right and "*" not in (left, right):
                return False
        return _lengths_meet(shorter, longer) and _first_labels_meet(shorter, longer)


def _lengths_meet(shorter: HostPattern, longer: HostPattern) -> bool:
    """Whether a number of labels exists that both patterns accept."""
    if shorter.is_deep:
        return longer.is_deep or _label_count(longer) > len(shorter.labels)
    if longer.is_deep:
        return _label_count(shorter) > len(longer.labels)
    return _label_count(shorter) == _label_count(longer)


def _label_count(pattern: HostPattern) -> int:
    return len(pattern.labels) + (pattern.first is not None)


def _first_labels_meet(shorter: HostPattern, longer: HostPattern) -> bool:
    """Compare the partial first label with whatever stands at its place in the other pattern."""
    if shorter.first is None:
        return True
    place = len(shorter.labels)
    if place < len(longer.labels):
        label = longer.labels[place]
        return label == "*" or (not label.startswith("xn--") and match_pieces(shorter.first, label))
    return longer.first is None or pieces_overlap(shorter.first, longer.first)
