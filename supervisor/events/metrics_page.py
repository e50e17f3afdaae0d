"""One process' numbers in memory that another one reads: whole, or not at all.

The monitor makes the memory (memfd_create(2)) and hands it to the writer and to the reader, so the
numbers pass without a message, and neither waits for the other. Layout, little-endian:

    head   u32 CRC-32 of the text, u32 its length
    text   Prometheus' text form, ASCII

A reader that meets a half-written page sees a wrong sum and looks again.
"""

import os
import struct
from binascii import crc32

_HEAD = struct.Struct("<II")
# A hundred codes in three metrics are 20 KiB; every series that one process may have is less.
PAGE_BYTES = 128 * 1024
# A write takes microseconds and comes once a second.
TRIES = 3


def write_page(page: int, text: str) -> None:
    """Replace the text. Raises ValueError for one that is too long."""
    raw = text.encode("ascii", "backslashreplace")
    if len(raw) > PAGE_BYTES - _HEAD.size:
        raise ValueError(f"metrics of {len(raw)} bytes")
    os.pwrite(page, _HEAD.pack(crc32(raw), len(raw)) + raw, 0)


def clear_page(page: int) -> None:
    """The writer is gone: what it said is true no more."""
    os.pwrite(page, bytes(_HEAD.size), 0)


def read_page(page: int, prefix: str) -> str:
    """The text, without lines that are not about metrics whose names begin with ``prefix``.

    The writer may have been taken over: it cannot pose as another process, nor end a line of ours.
    """
    for _ in range(TRIES):
        raw = os.pread(page, PAGE_BYTES, 0)
        if len(raw) < _HEAD.size:
            return ""
        total, length = _HEAD.unpack_from(raw)
        text = raw[_HEAD.size : _HEAD.size + length]
        if len(text) == length and crc32(text) == total:
            return _own_lines(text, prefix)
    return ""


def _own_lines(text: bytes, prefix: str) -> str:
    starts = (prefix, f"# HELP {prefix}", f"# TYPE {prefix}")
    lines = text.decode("ascii", "replace").split("\n")
    return "".join(f"{line}\n" for line in lines if line.startswith(starts) and line.isprintable())
