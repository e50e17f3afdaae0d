"""What is read of the surroundings."""

import pytest

from supervisor.startup.facts import parse_limit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        *(("2048\n", 2048), ("0", 0), ("max\n", None), ("", None)),
        *(
            ("-1", None),
            ("+5", None),
            ("1e3", None),
            ("٣", None),
            ("2048 max", None),
            ("0x10", None),
        ),
    ],
)
def test_a_limit_is_a_plain_number_and_anything_else_is_none(text, limit):
    """process.md T46."""
    assert parse_limit(text) == limit
