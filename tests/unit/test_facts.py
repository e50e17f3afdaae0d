from supervisor.startup.facts import parse_limit


def test_pids_max_is_a_number_or_unlimited():
    """T46 of the reference's cases."""
    assert parse_limit("2048\n") == 2048
    assert parse_limit("max\n") is None
    assert parse_limit("٣\n") is None
