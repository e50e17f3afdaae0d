"""Ids that the container's user namespace does not have."""

import pytest

from supervisor.errors import Refusal
from supervisor.identity.mapped import check_mapped, own_id_map, parse_id_map

ROOTLESS = b"         0       1000          1\n         1     100000      65536\n"


def test_a_map_is_the_ids_inside() -> None:
    assert parse_id_map(ROOTLESS) == (range(1), range(1, 65537))
    assert parse_id_map(b"         0          0 4294967295\n") == (range(4294967295),)
    assert parse_id_map(b"") == ()


@pytest.mark.parametrize("content", [b"0 0\n", b"a b c\n", b"0 0 1 1\n"])
def test_a_torn_map_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_id_map(content)


def test_a_number_inside_passes_and_one_outside_is_refused() -> None:
    check_mapped([0, 1, 65536], parse_id_map(ROOTLESS), "uid")
    with pytest.raises(Refusal) as caught:
        check_mapped([1000, 1_000_660_000], parse_id_map(ROOTLESS), "uid")
    assert caught.value.code.name == "identity.not-mapped"
    assert "1000660000" in caught.value.cause
    assert "1-65536" in caught.value.cause


def test_the_own_map_can_be_read() -> None:
    assert any(0 in ids for ids in own_id_map("uid"))
    assert any(0 in ids for ids in own_id_map("gid"))
