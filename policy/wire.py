"""A Policy as plain data (lists, strings, numbers, booleans, None) and back.

An unprivileged child parses YAML; what it hands to the monitor is this. The monitor trusts none of
it: ``from_wire`` builds values only of the types that the model's annotations name, exactly, and
refuses everything else. The format is the model itself, one list per dataclass (its name, then its
fields in order), so there is no second definition that could drift; both ends are the same build.

``static_from_wire`` reads all but the network half, without importing it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Literal, cast

from policy import findings, model
from policy.values import parse_directory, parse_identity

Plain = None | bool | int | str | list["Plain"]

# No document within the loader's bounds holds more (document.MAX_NODES).
MAX_ITEMS = 100_000
# No text that the loader lets through is longer (document.MAX_WORD), nor any finding about one.
MAX_TEXT = 65536


class WireError(ValueError):
    """Plain data that is not a policy."""


def to_wire(policy: model.Policy) -> Plain:
    """Plain data that JSON can carry."""
    return _encode(policy)


def from_wire(data: object) -> model.Policy:
    """The policy that was encoded, with its origins and findings; WireError on anything else."""
    from policy import network
    from policy.address import Network
    from policy.host import HostPattern
    from policy.path import PathPattern
    from policy.query import QueryPattern

    names = {
        **vars(findings),
        **vars(network),
        "Network": Network,
        "HostPattern": HostPattern,
        "PathPattern": PathPattern,
        "QueryPattern": QueryPattern,
    }
    return cast("model.Policy", _Decoder(names).value(model.Policy, data))


def static_from_wire(data: object) -> model.Policy:
    """The same with an empty network half, which is neither read nor imported. WireError."""
    fields = [field.name for field in dataclasses.fields(model.Policy)]
    if not isinstance(data, list) or len(data) != len(fields) + 1:
        raise WireError("not a policy")
    static = list(data)
    for name in ("network_policies", "middlewares"):
        static[fields.index(name) + 1] = []
    names = {**vars(findings), "NetworkPolicy": _Unread, "Middleware": _Unread}
    return cast("model.Policy", _Decoder(names).value(model.Policy, static))


class _Unread:
    """Stands for types of the half that is not read."""


def _encode(value: object) -> Plain:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, frozenset):
        return [*sorted(cast("frozenset[str]", value))]
    name = type(value).__name__
    if name in _TEXTS:
        return str(getattr(value, "text", value))
    fields = dataclasses.fields(cast("model.Policy", value))
    return [name, *(_encode(getattr(value, field.name)) for field in fields)]


# Written as their text and parsed again: what a pattern holds beside its text follows from it.
_TEXTS = ("HostPattern", "PathPattern", "QueryPattern", "IPv4Network", "IPv6Network")


Reader = typing.Callable[[object], object]


class _Decoder:
    """Reads values by type annotation; ``names`` resolves the model's forward references.

    What a type needs is worked out once: a policy of a thousand entries has a hundred thousand values.
    """

    def __init__(self, names: dict[str, object]) -> None:
        self._names = names
        self._readers: dict[object, Reader] = {}

    def value(self, hint: object, data: object) -> object:
        """``data`` as a value of this type. WireError."""
        return self._reader(hint)(data)

    def _reader(self, hint: object) -> Reader:
        reader = self._readers.get(hint)
        if reader is None:
            reader = self._readers[hint] = self._make(hint)
        return reader

    def _make(self, hint: object) -> Reader:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is Literal:
            return _literal(inner)
        if origin in (typing.Union, types.UnionType):
            return self._union(inner)
        if origin is tuple:
            return self._tuple(inner)
        if origin is frozenset:
            item = self._reader(str)
            return lambda data: frozenset([item(one) for one in _items(data)])
        if isinstance(hint, type) and hint in (bool, int, str):
            return _plain(hint)
        if isinstance(hint, type) and hint.__name__ in _TEXTS:
            return _text(cast("type[_Parsed]", hint).parse)
        if not isinstance(hint, type) or not dataclasses.is_dataclass(hint):
            return _nothing
        return self._record(hint)

    def _union(self, kinds: tuple[object, ...]) -> Reader:
        rest = [kind for kind in kinds if kind is not type(None)]
        reader = self._one_of(rest)
        if len(rest) == len(kinds):
            return reader
        return lambda data: None if data is None else reader(data)

    def _one_of(self, kinds: list[object]) -> Reader:
        if all(getattr(kind, "__name__", "") in ("IPv4Network", "IPv6Network") for kind in kinds):
            import ipaddress

            return _text(ipaddress.ip_network)
        if len(kinds) == 1:
            return self._reader(kinds[0])
        tagged = {getattr(kind, "__name__", None): self._reader(kind) for kind in kinds}

        def read(data: object) -> object:
            tag = data[0] if isinstance(data, list) and data else None
            if not isinstance(tag, str) or tag not in tagged:
                raise WireError("not one of the kinds that may stand here")
            return tagged[tag](data)

        return read

    def _tuple(self, kinds: tuple[object, ...]) -> Reader:
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            item = self._reader(kinds[0])
            return lambda data: tuple([item(one) for one in _items(data)])
        readers = [self._reader(kind) for kind in kinds]

        def read(data: object) -> object:
            items = _items(data)
            if len(items) != len(readers):
                raise WireError(f"{len(items)} items where {len(readers)} are wanted")
            return tuple([reader(one) for reader, one in zip(readers, items, strict=True)])

        return read

    def _record(self, kind: type) -> Reader:
        hints = typing.get_type_hints(kind, localns=self._names)
        readers = {
            field.name: self._field(kind.__name__, field.name, hints[field.name])
            for field in dataclasses.fields(kind)
        }
        name = kind.__name__

        def read(data: object) -> object:
            items = _items(data)
            if len(items) != len(readers) + 1 or items[0] != name:
                raise WireError(f"not a {name}")
            values = iter(items)
            next(values)
            return kind(**{field: reader(next(values)) for field, reader in readers.items()})

        return read

    def _field(self, record: str, name: str, hint: object) -> Reader:
        if (record, name) == ("Binary", "path"):  # the one pattern for files among those for URLs
            return _text(cast("type[_Parsed]", hint).parse_file)
        if (record, name) == ("PathEntry", "path"):
            return _text(parse_directory)
        if record == "Process" and name.startswith("run_as"):
            parse = _text(parse_identity)
            return lambda data: None if data is None else parse(data)
        return self._reader(hint)


def _nothing(_data: object) -> object:
    raise WireError("nothing may stand here")


def _literal(words: tuple[object, ...]) -> Reader:
    def read(data: object) -> object:
        for word in words:
            if type(data) is type(word) and data == word:
                return word
        raise WireError(f"not one of {words}")

    return read


def _plain(kind: type) -> Reader:
    def read(data: object) -> object:
        if type(data) is not kind or (kind is str and len(cast("str", data)) > MAX_TEXT):
            raise WireError(f"{type(data).__name__} where {kind.__name__} is wanted")
        return data

    return read


def _items(data: object) -> list[object]:
    if type(data) is not list or len(data) > MAX_ITEMS:
        raise WireError(f"{type(data).__name__} where a list of bounded length is wanted")
    return data


def _text(parse: typing.Callable[[str], object]) -> Reader:
    word = _plain(str)

    def read(data: object) -> object:
        text = cast("str", word(data))
        try:
            return parse(text)
        except ValueError as error:  # PatternError is one
            raise WireError(str(error)) from error

    return read


class _Parsed(typing.Protocol):
    """The constructors that the pattern types share."""

    @classmethod
    def parse(cls, text: str) -> object:
        """Read a pattern."""

    @classmethod
    def parse_file(cls, text: str) -> object:
        """Read a pattern for files."""
