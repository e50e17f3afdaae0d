"""Entries of network_policies: which programs may reach which endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy import document_codes as codes
from policy.endpoints import read_endpoint
from policy.network import Binary, NetworkPolicy
from policy.path import PathPattern
from policy.shape import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

# The reference composes entries of this prefix from credential providers.
_RESERVED = "_provider_"


def read_entries(records: dict[str, Record]) -> tuple[NetworkPolicy, ...]:
    """All entries, in the order of the document."""
    return tuple(_entry(key, record) for key, record in records.items())


def _entry(key: str, record: Record) -> NetworkPolicy:
    if key.startswith(_RESERVED):
        record.refuse(codes.RESERVED_NAME, "", f"the name {key!r} is reserved")
    endpoints = tuple(read_endpoint(item) for item in record.many("endpoints", Record))
    binaries = read_binaries(record.many("binaries", Record))
    for name, what in (("endpoints", "nothing"), ("binaries", "no program")):
        if not record.items(name) and not (record.has(name) and name not in record.values):
            message = f"the entry names {what}, so it allows nothing"
            remedy = "Add one, or remove the entry. '/**' is any program."
            record.refuse(codes.NEVER_MATCHES, name, message, remedy=remedy)
    return NetworkPolicy(
        key=key,
        name=record.get("name", str) or key,
        endpoints=endpoints,
        binaries=binaries,
        origin=record.origin,
    )


def read_binaries(records: Iterable[Record]) -> tuple[Binary, ...]:
    """The programs of an entry or of an included preset."""
    return tuple(found for record in records if (found := _binary(record)) is not None)


def _binary(record: Record) -> Binary | None:
    if record.has("harness"):
        record.warn(codes.DEPRECATED, "harness", "'harness' is deprecated and has no effect")
    path = record.get("path", PathPattern)
    if path is None:
        return None
    ours = record.get("supervisor", Record)
    digests = () if ours is None else ours.many("sha256", str)
    return Binary(path=path, sha256=frozenset(digests), origin=record.origin)
