import struct

import pytest

from supervisor.kernel.nft_changes import parse

NEWTABLE, NEWRULE, DELTABLE, NEWGEN = 0xA00, 0xA06, 0xA02, 0xA0F


def message(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = b"\x01\0\0\0"
    for number, value in attributes:
        body += struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_the_table_of_each_message_is_named():
    data = (
        message(NEWTABLE, (1, b"one\0"))
        + message(NEWRULE, (2, b"chain\0"), (1, b"two\0"))
        + message(DELTABLE, (1, b"three\0"), (3, bytes(8)))
        + message(NEWGEN, (1, struct.pack("!I", 7)))
    )

    assert parse(data) == {"one", "two", "three"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(16),
        message(NEWRULE),
        message(NEWRULE, (2, b"chain\0")),
        message(0x501, (1, b"other subsystem\0")),
        message(NEWRULE)[:10],
        message(NEWRULE) + struct.pack("=HH", 0, 1),
    ],
)
def test_what_names_no_table_is_passed_over(data):
    assert parse(data) == frozenset()
