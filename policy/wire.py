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


class _Decoder:
    """Reads values by type annotation; ``names`` resolves the model's forward references."""

    def __init__(self, names: dict[str, object]) -> None:
        self.names = names
        self.hints: dict[type, dict[str, object]] = {}

    def value(self, hint: object, data: object) -> object:
        origin = typing.get_origin(hint)
        if origin is Literal:
            return self._literal(typing.get_args(hint), data)
        if origin in (typing.Union, types.UnionType):
            return self._union(typing.get_args(hint), data)
        if origin is tuple:
            return self._tuple(typing.get_args(hint), data)
        if origin is frozenset:
            return self._set(data)
        if isinstance(hint, type) and hint in (bool, int, str):
            if type(data) is not hint or (isinstance(data, str) and len(data) > MAX_TEXT):
                raise WireError(f"{type(data).__name__} where {hint.__name__} is wanted")
            return data
        if isinstance(hint, type) and hint.__name__ in _TEXTS:
            return self._text(cast("type[_Parsed]", hint).parse, data)
        return self._record(hint, data)

    def _literal(self, words: tuple[object, ...], data: object) -> object:
        for word in words:
            if type(data) is type(word) and data == word:
                return word
        raise WireError(f"not one of {words}")

    def _union(self, kinds: tuple[object, ...], data: object) -> object:
        if data is None and type(None) in kinds:
            return None
        rest = [kind for kind in kinds if kind is not type(None)]
        if all(getattr(kind, "__name__", "") in ("IPv4Network", "IPv6Network") for kind in rest):
            import ipaddress

            return self._text(ipaddress.ip_network, data)
        if len(rest) == 1:
            return self.value(rest[0], data)
        tag = data[0] if isinstance(data, list) and data else None
        for kind in rest:
            if getattr(kind, "__name__", None) == tag:
                return self._record(kind, data)
        raise WireError("not one of the kinds that may stand here")

    def _items(self, data: object) -> list[object]:
        if type(data) is not list or len(data) > MAX_ITEMS:
            raise WireError(f"{type(data).__name__} where a list of bounded length is wanted")
        return data

    def _tuple(self, kinds: tuple[object, ...], data: object) -> object:
        items = self._items(data)
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            return tuple(self.value(kinds[0], item) for item in items)
        if len(items) != len(kinds):
            raise WireError(f"{len(items)} items where {len(kinds)} are wanted")
        return tuple(self.value(kind, item) for kind, item in zip(kinds, items, strict=True))

    def _set(self, data: object) -> object:
        return frozenset(cast("str", self.value(str, item)) for item in self._items(data))

    def _text(self, parse: typing.Callable[[str], object], data: object) -> object:
        text = cast("str", self.value(str, data))
        try:
            return parse(text)
        except ValueError as error:  # PatternError is one
            raise WireError(str(error)) from error

    def _record(self, hint: object, data: object) -> object:
        if not isinstance(hint, type) or not dataclasses.is_dataclass(hint):
            raise WireError("nothing may stand here")
        items = self._items(data)
        fields = dataclasses.fields(hint)
        if len(items) != len(fields) + 1 or items[0] != hint.__name__:
            raise WireError(f"not a {hint.__name__}")
        if hint not in self.hints:
            self.hints[hint] = typing.get_type_hints(hint, localns=self.names)
        hints = self.hints[hint]
        values = {
            field.name: self._field(hint.__name__, field.name, hints[field.name], item)
            for field, item in zip(fields, items[1:], strict=True)
        }
        return hint(**values)

    def _field(self, record: str, name: str, hint: object, data: object) -> object:
        if (record, name) == ("Binary", "path"):  # the one pattern for files among those for URLs
            return self._text(cast("type[_Parsed]", hint).parse_file, data)
        if (record, name) == ("PathEntry", "path"):
            return self._text(parse_directory, data)
        if record == "Process" and name.startswith("run_as") and data is not None:
            return self._text(parse_identity, data)
        return self.value(hint, data)


class _Parsed(typing.Protocol):
    """The constructors that the pattern types share."""

    @classmethod
    def parse(cls, text: str) -> object:
        """Read a pattern."""

    @classmethod
    def parse_file(cls, text: str) -> object:
        """Read a pattern for files."""
