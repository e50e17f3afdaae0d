"""Presets that a policy includes by name: their entries, as if they stood in the policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from policy import document_codes as codes
from policy import presets
from policy.document import parse
from policy.entries import read_binaries, read_entries
from policy.findings import Report
from policy.shape import Record

if TYPE_CHECKING:
    from policy.network import NetworkPolicy
    from policy.shape import Item, RecordOf


def included_entries(
    root: Record, own: tuple[NetworkPolicy, ...], grammar: RecordOf
) -> tuple[NetworkPolicy, ...]:
    """The entries of all presets that ``supervisor: presets`` names, in that order."""
    supervisor = root.get("supervisor", Record)
    if supervisor is None:
        return ()
    taken = {entry.key: "the policy's own" for entry in own}
    found: list[NetworkPolicy] = []
    for item in supervisor.items("presets"):
        name = preset_name(item)
        if name is None:
            continue
        for entry in preset_entries(name, grammar):
            if entry.key in taken:
                message = (
                    f"preset {name!r} brings the entry {entry.key!r}, which is {taken[entry.key]}"
                )
                supervisor.report.add(codes.PRESET_ENTRY, item.node, item.path, message)
                continue
            taken[entry.key] = f"preset {name!r} already"
            found.append(_with_binaries(entry, item))
    return tuple(found)


def preset_name(item: Item) -> str | None:
    """The name of one item of ``presets``, in its short or long form."""
    if isinstance(item.value, Record):
        return item.value.get("name", str)
    return str(item.value)


def preset_entries(name: str, grammar: RecordOf) -> tuple[NetworkPolicy, ...]:
    """The entries of one shipped preset; their origins name it."""
    report = Report(f"preset:{name}")
    tree = parse(presets.text_of(name), report)
    root = None if tree is None else grammar.read(tree, "", report)
    entries = read_entries(root.records("network_policies")) if isinstance(root, Record) else ()
    if report.found:
        raise AssertionError(f"a shipped preset is broken: {report.found[0]}")
    return entries


def _with_binaries(entry: NetworkPolicy, item: Item) -> NetworkPolicy:
    """The entry for the programs that the policy names, where it names any."""
    if not isinstance(item.value, Record) or not item.value.has("binaries"):
        return entry
    return replace(entry, binaries=read_binaries(item.value.many("binaries", Record)))
