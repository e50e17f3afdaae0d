"""Denials summed per host, port and program: how often, since when, and one of them as a sample.

Bounded: whoever is denied at ten thousand made-up names takes no more memory than this, and what is
forgotten for it is counted. Keys seen once and keys seen again are kept apart, so that made-up
names, seen once each, push out one another and not what repeats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from supervisor.events.record_parts import UNKNOWN
from supervisor.events.text import clean, host_name
from supervisor.events.vocabulary import (
    Actor,
    AttemptBlocked,
    ConnectionRefused,
    DenialsSummed,
    DnsRefused,
    Endpoint,
    Event,
    HttpRequest,
    Verdict,
    Why,
)

# About 700 bytes an entry (measured by the unit test), so both halves stay below half a megabyte.
SEEN_ONCE = 256
SEEN_AGAIN = 256
DNS_PORT = 53


class Key(NamedTuple):
    """What makes two denials the same."""

    host: str
    port: int | None
    binary: str | None


@dataclass(slots=True)
class Denied:
    """One line of the table. ``told`` is how many of ``count`` have been summed up already."""

    key: Key
    why: Why
    request_id: str | None
    first: float
    last: float
    count: int = 1
    told: int = 1


class DenialTable:
    """See the module's text."""

    def __init__(self) -> None:
        self._once: dict[Key, Denied] = {}
        self._again: dict[Key, Denied] = {}
        self.evicted_keys = 0
        self.evicted_denials = 0

    def add(self, event: Event, when: float) -> None:
        """Count an event if it is a denial; ``when`` is seconds since the epoch."""
        found = _denial(event)
        if found is None:
            return
        key, why, request_id = found
        known = self._once.pop(key, None) or self._again.pop(key, None)
        if known is None:
            self._once[key] = Denied(key, why, request_id, when, when)
            self._evict(self._once, SEEN_ONCE)
            return
        known.count += 1
        known.last, known.why = when, why
        self._again[key] = known  # at the end: the least recently denied is in front
        self._evict(self._again, SEEN_AGAIN)

    def __iter__(self) -> Iterator[Denied]:
        """All lines, most frequent first."""
        everything = (*self._once.values(), *self._again.values())
        return iter(sorted(everything, key=lambda one: (-one.count, -one.last)))

    def __len__(self) -> int:
        return len(self._once) + len(self._again)

    def untold(self, limit: int) -> list[DenialsSummed]:
        """At most ``limit`` sums of what repeated since it was last told; marks them as told."""
        due = [one for one in self._again.values() if one.count > one.told][:limit]
        sums = [
            DenialsSummed(
                host=one.key.host,
                port=one.key.port,
                binary=one.key.binary,
                times=one.count - one.told,
                total=one.count,
                first=one.first,
                last=one.last,
                why=one.why,
            )
            for one in due
        ]
        for one in due:
            one.told = one.count
        return sums

    def _evict(self, half: dict[Key, Denied], limit: int) -> None:
        if len(half) > limit:
            gone = half.pop(next(iter(half)))
            self.evicted_keys += 1
            self.evicted_denials += gone.count


def _denial(event: Event) -> tuple[Key, Why, str | None] | None:
    match event:
        case ConnectionRefused():
            return _key(event.destination, _program(event.actors)), event.why, event.request_id
        case HttpRequest() if event.verdict is not Verdict.ALLOW:
            return _key(event.destination, _program(event.actors)), event.why, event.request_id
        case DnsRefused():
            return _key(Endpoint(host=event.name, port=DNS_PORT), None), event.why, None
        case AttemptBlocked():
            return _key(event.destination, None), event.why, None
        case _:
            return None


def _program(actors: tuple[Actor, ...]) -> str | None:
    """As its record names it, so that sums and single records are the same line to a reader."""
    return (actors[0].binary or UNKNOWN) if actors else None


def _key(end: Endpoint | None, binary: str | None) -> Key:
    """Bounded: what the workload chose is cut as in a record."""
    program = None if binary is None else clean(binary)
    if end is None:
        return Key("-", None, program)
    return Key(host_name(end.host or end.ip or "-"), end.port, program)
