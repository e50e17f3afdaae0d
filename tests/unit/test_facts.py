from supervisor.startup.facts import any_default_route, parse_limit

DEFAULT = "0" * 32 + " 00 " + "0" * 32 + " 00 fe80" + "0" * 27 + "1 00000400 1 0 00000003 {}"
ON_LINK = "fe80" + "0" * 28 + " 40 " + "0" * 32 + " 00 " + "0" * 32 + " 00000100 1 0 1 eth0"


def test_a_default_route_counts_unless_it_leads_to_lo():
    assert any_default_route(f"{ON_LINK}\n{DEFAULT.format('eth0')}\n")
    assert not any_default_route(f"{ON_LINK}\n{DEFAULT.format('lo')}\n")
    assert not any_default_route("")


def test_pids_max_is_a_number_or_unlimited():
    """T46 of the reference's cases."""
    assert parse_limit("2048\n") == 2048
    assert parse_limit("max\n") is None
    assert parse_limit("٣\n") is None
