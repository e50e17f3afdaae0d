"""Which name an invented address stands for, and for how long (decision 19).

DNS answers a name that policy allows with a pair of addresses out of two private pools; the
connection that follows then carries its name whatever its protocol. A name that a rule states
exactly gets an address derived from the name, so it stays the same for the life of the sandbox and
even in the next one. Names under wildcards share a pool, because the workload can invent them.

The table is a fixed array of records in memory that the monitor keeps (a memfd) and hands to the
next egress; dictionaries beside it are only an index. Layout, little-endian:

    header   8s magic, u32 record size, u32 capacity, u32 records from here on were never used
    record   u8 state (0 empty, 1 exact, 2 pooled), u8 length of name, u16 zero, u32 slot,
             f64 last answer (seconds of CLOCK_MONOTONIC), 256s name, zero-padded

The state byte is written last, so a process that is killed in between leaves an empty record.
Records that were never used are never looked at: a page of a memfd takes memory once it is read.
"""

import hashlib
import mmap
import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from policy.address import SYNTHETIC_V4, SYNTHETIC_V6
from supervisor.egress.names import canonical_name

# The first half of the IPv4 range is for exact names, the second for names under wildcards. The
# lowest and highest slots stay free: some programs treat .0 and .255.255 as broadcast.
EXACT_SLOTS = range(1, 0x10000)
POOLED_SLOTS = range(0x10000, 0x1FFFF)
# More exact names than any policy states; at most half of EXACT_SLOTS so that probing stays short.
MAX_EXACT = 16384
# Names under wildcards that may live at once; beyond it DNS refuses.
MAX_POOLED = 16384
# A program may keep an answer longer than its TTL (Java, browsers): no reuse within an hour.
REUSE_AFTER_S = 3600.0

_MAGIC = b"synth-2\0"
_HEADER = struct.Struct("<8sIII")
_USED = struct.Struct("<I")
_USED_OFFSET = 16
_RECORD = struct.Struct("<BBHId256s")
_TIME = struct.Struct("<d")
_TIME_OFFSET = 8
CAPACITY = MAX_EXACT + MAX_POOLED
TABLE_SIZE = _HEADER.size + CAPACITY * _RECORD.size


class Kind(Enum):
    """How a rule names it: exactly, or through a wildcard."""

    EXACT = 1
    POOLED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two addresses that stand for one name."""

    v4: IPv4Address
    v6: IPv6Address


class TableError(ValueError):
    """The memory that was handed over is no table of ours, or was damaged."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """The index's view of one record; ``holds`` counts the live tunnels to the name."""

    record: int
    slot: int
    kind: Kind
    answered: float
    holds: int = 0


class SyntheticTable:
    """Names and their addresses over ``memory`` (a mutable buffer of TABLE_SIZE bytes).

    All zero bytes are an empty table. ``now`` is always CLOCK_MONOTONIC in seconds.
    Raises TableError if the memory holds anything but a table that this code wrote.
    """

    def __init__(self, memory: bytearray | mmap.mmap) -> None:
        self._memory = memoryview(memory)
        if self._memory.nbytes != TABLE_SIZE or self._memory.readonly:
            raise TableError(f"a table needs {TABLE_SIZE} writable bytes")
        self._entries: dict[str, _Entry] = {}
        self._names: dict[int, str] = {}
        self._counts = {Kind.EXACT: 0, Kind.POOLED: 0}
        self._used = 0
        self._free: list[int] = []  # below _used
        self._pool_cursor = POOLED_SLOTS.start
        self._load()

    def assign(self, name: str, kind: Kind, now: float) -> Pair | None:
        """The addresses to answer ``name`` with, or None where its part of the table is full."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._create(name, kind, now)
            if entry is None:
                return None
        entry.answered = now
        _TIME.pack_into(self._memory, self._offset(entry.record) + _TIME_OFFSET, now)
        return _pair(entry.slot)

    def name_of(self, address: IPv4Address | IPv6Address) -> str | None:
        """The name that ``address`` stands for; None if it never was handed out."""
        slot = _slot(address)
        return None if slot is None else self._names.get(slot)

    def hold(self, name: str) -> None:
        """A tunnel to ``name`` begins: its address is not reused while it lives."""
        if name in self._entries:
            self._entries[name].holds += 1

    def release(self, name: str, now: float) -> None:
        """A tunnel to ``name`` ended; the hour counts from here."""
        entry = self._entries.get(name)
        if entry is not None and entry.holds:
            entry.holds -= 1
            entry.answered = max(entry.answered, now)

    def count(self, kind: Kind) -> int:
        """How many names of one kind the table holds."""
        return self._counts[kind]

    def _create(self, name: str, kind: Kind, now: float) -> _Entry | None:
        limit = MAX_EXACT if kind is Kind.EXACT else MAX_POOLED
        if self._counts[kind] >= limit and not (kind is Kind.POOLED and self._expire(now)):
            return None
        slot = self._exact_slot(name) if kind is Kind.EXACT else self._pooled_slot()
        entry = _Entry(record=self._free_record(), slot=slot, kind=kind, answered=now)
        self._write(name, entry)
        self._index(name, entry)
        return entry

    def _free_record(self) -> int:
        if self._free:
            return self._free.pop()
        self._used += 1
        _USED.pack_into(self._memory, _USED_OFFSET, self._used)
        return self._used - 1

    def _exact_slot(self, name: str) -> int:
        """Derived from the name alone; the next free one where two names meet."""
        digest = hashlib.blake2s(name.encode("ascii"), digest_size=4).digest()
        start = int.from_bytes(digest, "big")
        for probe in range(len(EXACT_SLOTS)):
            slot = EXACT_SLOTS[(start + probe) % len(EXACT_SLOTS)]
            if slot not in self._names:
                return slot
        raise AssertionError("MAX_EXACT is half of EXACT_SLOTS")

    def _pooled_slot(self) -> int:
        """Round robin, so that an address rests as long as possible before it means another name."""
        while self._pool_cursor in self._names:
            self._advance()
        slot = self._pool_cursor
        self._advance()
        return slot

    def _advance(self) -> None:
        following = self._pool_cursor + 1
        self._pool_cursor = following if following in POOLED_SLOTS else POOLED_SLOTS.start

    def _expire(self, now: float) -> bool:
        """Free every pooled name that has rested long enough; whether there was any."""
        rested = [
            name
            for name, entry in self._entries.items()
            if entry.kind is Kind.POOLED
            and not entry.holds
            and now - entry.answered >= REUSE_AFTER_S
        ]
        for name in rested:
            entry = self._entries.pop(name)
            del self._names[entry.slot]
            self._memory[self._offset(entry.record)] = 0
            self._free.append(entry.record)
            self._counts[Kind.POOLED] -= 1
        return bool(rested)

    def _index(self, name: str, entry: _Entry) -> None:
        self._entries[name] = entry
        self._names[entry.slot] = name
        self._counts[entry.kind] += 1

    @staticmethod
    def _offset(record: int) -> int:
        return _HEADER.size + record * _RECORD.size

    def _write(self, name: str, entry: _Entry) -> None:
        offset = self._offset(entry.record)
        raw = name.encode("ascii")
        _RECORD.pack_into(self._memory, offset, 0, len(raw), 0, entry.slot, entry.answered, raw)
        self._memory[offset] = entry.kind.value

    def _load(self) -> None:
        magic, size, capacity, self._used = _HEADER.unpack_from(self._memory)
        if (magic, size, capacity, self._used) == (bytes(8), 0, 0, 0):
            _HEADER.pack_into(self._memory, 0, _MAGIC, _RECORD.size, CAPACITY, 0)
        elif (magic, size, capacity) != (_MAGIC, _RECORD.size, CAPACITY) or self._used > CAPACITY:
            raise TableError("the header is not this version's")
        for record in range(self._used):
            if self._memory[self._offset(record)] == 0:
                self._free.append(record)
            else:
                self._load_record(record)

    def _load_record(self, record: int) -> None:
        state, length, zero, slot, answered, raw = _RECORD.unpack_from(
            self._memory, self._offset(record)
        )
        name = raw[:length].decode("latin-1")
        slots = EXACT_SLOTS if state == Kind.EXACT.value else POOLED_SLOTS
        sound = (
            state in (Kind.EXACT.value, Kind.POOLED.value)
            and zero == 0
            and canonical_name(name) == name
            and slot in slots
            and slot not in self._names
            and name not in self._entries
            and answered >= 0
        )
        if not sound:
            raise TableError(f"record {record} is damaged")
        self._index(name, _Entry(record=record, slot=slot, kind=Kind(state), answered=answered))


def _pair(slot: int) -> Pair:
    return Pair(v4=SYNTHETIC_V4[slot], v6=SYNTHETIC_V6[slot])


def _slot(address: IPv4Address | IPv6Address) -> int | None:
    pool = SYNTHETIC_V4 if isinstance(address, IPv4Address) else SYNTHETIC_V6
    if address not in pool:
        return None
    return int(address) - int(pool.network_address)
