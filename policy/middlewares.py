"""network_middlewares: read and checked like the reference's, run by nobody so far.

Their host patterns are a dialect of their own: ``*`` is one label, ``**`` one label or more, both
anywhere; a star may also be part of a label.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast

from policy import document_codes as codes
from policy.document import Mapping, Sequence, Word
from policy.glob import pieces_overlap
from policy.grammar_network import MAX_MIDDLEWARE_PATTERNS
from policy.network import Middleware
from policy.shape import Record

if TYPE_CHECKING:
    from policy.document import Node
    from policy.network import NetworkPolicy


def read_middlewares(
    records: dict[str, Record], entries: tuple[NetworkPolicy, ...]
) -> tuple[Middleware, ...]:
    """All middlewares, in the order of the document, checked against the endpoints."""
    found = tuple(_middleware(key, record) for key, record in records.items())
    orders: dict[int, str] = {}
    for middleware, record in zip(found, records.values(), strict=True):
        if middleware.order in orders:
            message = f"order {middleware.order} is also that of {orders[middleware.order]!r}"
            record.refuse(codes.CONTRADICTION, "order", message, remedy="Number them apart.")
        orders.setdefault(middleware.order, middleware.key)
        if middleware.on_error == "fail_closed":
            _check_raw_tunnels(record, middleware, entries)
    return found


def _middleware(key: str, record: Record) -> Middleware:
    endpoints = record.get("endpoints", Record)
    include = _patterns(endpoints, "include")
    exclude = _patterns(endpoints, "exclude")
    if len(include) + len(exclude) > MAX_MIDDLEWARE_PATTERNS:
        message = f"{len(include) + len(exclude)} patterns, at most {MAX_MIDDLEWARE_PATTERNS}"
        record.refuse(codes.OUT_OF_RANGE, "endpoints", message)
    config = record.get("config", Mapping)
    on_error = record.get("on_error", str) or "fail_closed"
    return Middleware(
        key=key,
        middleware=record.get("middleware", str) or "",
        name=record.get("name", str) or key,
        order=record.get("order", int) or 0,
        on_error=cast("Literal['fail_closed', 'fail_open']", on_error),
        include=include,
        exclude=exclude,
        config="{}" if config is None else _as_json(config),
        origin=record.origin,
    )


def _patterns(record: Record | None, name: str) -> tuple[str, ...]:
    if record is None:
        return ()
    found = []
    for item in record.items(name):
        text = str(item.value).lower()
        labels = text.split(".")
        if "" in labels or any(c.isspace() or c in "{}" for c in text):
            message = f"{text!r} has an empty label, white space or braces"
            record.report.add(
                codes.UNKNOWN_WORD, item.node, item.path, message, remedy="Correct it."
            )
            continue
        found.append(text)
    return tuple(found)


def _as_json(config: Mapping) -> str:
    import json  # most policies have no middleware

    return json.dumps(_plain(config))


def _plain(node: Node) -> object:
    """The settings as text and structure; their depth is bounded by the document's."""
    match node:
        case Word():
            return _scalar(node)
        case Sequence():
            return [_plain(item) for item in node.items]
        case Mapping():
            return {key.text: _plain(value) for key, value in node.entries}


def _scalar(word: Word) -> object:
    if not word.plain:
        return word.text
    if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", word.text):
        return int(word.text)
    return {"true": True, "false": False, "null": None}.get(word.text, word.text)


def _check_raw_tunnels(
    record: Record, middleware: Middleware, entries: tuple[NetworkPolicy, ...]
) -> None:
    """A middleware that must see everything cannot cover a tunnel that nobody reads."""
    for entry in entries:
        for endpoint in entry.endpoints:
            if endpoint.tls != "skip":
                continue
            host = "**" if endpoint.host is None else endpoint.host.text
            excluded = any(host == pattern for pattern in middleware.exclude)
            if not excluded and any(hosts_overlap(host, it) for it in middleware.include):
                message = f"covers {host}, which is 'tls: skip' at {endpoint.origin}"
                remedy = "Exclude the host, or state 'on_error: fail_open'."
                record.refuse(codes.CONTRADICTION, "endpoints", message, remedy=remedy)
                return


def hosts_overlap(one: str, other: str) -> bool:
    """Whether some host could match both patterns; ``**`` is one label or more anywhere."""
    left, right = one.split("."), other.split(".")
    # reachable: how many labels of ``right`` may be used up after each label of ``left``.
    reachable = {0}
    for label in left:
        reachable = _after(label, right, reachable)
    return len(right) in reachable


def _after(label: str, right: list[str], places: set[int]) -> set[int]:
    """Where ``right`` can stand once ``label`` of the other pattern was used up."""
    found: set[int] = set()
    for place in places:
        if label == "**":
            found.update(range(place + 1, len(right) + 1))
        if place == len(right):
            continue
        facing = right[place]
        if facing == "**":
            found.update((place, place + 1))
        elif label != "**" and pieces_overlap(tuple(label.split("*")), tuple(facing.split("*"))):
            found.add(place + 1)
    return found
