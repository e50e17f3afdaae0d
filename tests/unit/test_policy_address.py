"""Addresses: the registries, what hides inside IPv6, and the rules of network.md section 2.6."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import address, codes
from policy.address import (
    AddressRule,
    Class,
    Trust,
    classify,
    embedded_ipv4,
    forbidden_allowed_network,
    judge_address,
    judge_addresses,
)
from policy.findings import PatternError

EXACT = address.EXACT_HOST
PUBLIC = address.PUBLIC_ONLY


def ip(text):
    return ipaddress.ip_address(text)


def listed(*networks):
    return AddressRule(
        trust=Trust.LISTED, networks=tuple(ipaddress.ip_network(text) for text in networks)
    )


@pytest.mark.parametrize("row", [*address.REGISTRY_V4, *address.REGISTRY_V6], ids=str)
def test_first_and_last_address_of_each_registry_row_get_the_class_of_the_narrowest_row(row):
    for edge in (row.network.network_address, row.network[-1]):
        found = address.block_of(edge)
        assert found is not None
        assert found.network.prefixlen >= row.network.prefixlen
    if row.kind is not Class.PUBLIC:
        assert classify(row.network[-1])[0] is not Class.PUBLIC or row.network.prefixlen == 0


def test_the_registries_hold_whatever_the_standard_library_calls_private_or_reserved():
    """Ours is stricter: nothing that ipaddress keeps off the internet is public for us."""
    for text in ("10.1.1.1", "100.64.1.1", "192.0.0.1", "198.18.0.1", "203.0.113.1", "240.0.0.1"):
        assert not ip(text).is_global
        assert classify(ip(text))[0] is not Class.PUBLIC


@given(st.ip_addresses())
def test_what_no_row_of_ours_names_is_global_for_the_standard_library_too(found):
    row = address.block_of(found)
    if row is None or row.name == "global unicast":
        assert found.is_global


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("::ffff:a9fe:a9fe", "169.254.169.254"),
        ("::169.254.169.254", "169.254.169.254"),
        ("::ffff:0:169.254.169.254", "169.254.169.254"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("64:ff9b:1::a9fe:a9fe", "169.254.169.254"),
        ("64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254"),  # RFC 6052 figure 1, /48
        ("64:ff9b:1:a9:fe:a9fe::", "169.254.169.254"),  # /56
        ("64:ff9b:1:0:a9:fea9:fe00:0", "169.254.169.254"),  # /64
        ("2002:a9fe:a9fe::1", "169.254.169.254"),
        ("2001:0:a9fe:a9fe::1", "169.254.169.254"),  # Teredo server
        ("2001:0:4136:e378:8000:63bf:5601:5601", "169.254.169.254"),  # Teredo client, inverted
    ],
)
@pytest.mark.parametrize(
    "rule", [EXACT, PUBLIC, listed("::/0", "0.0.0.0/0")], ids=lambda r: r.trust
)
def test_metadata_inside_an_ipv6_address_is_refused_under_every_rule(text, inside, rule):
    assert ip(inside) in embedded_ipv4(ip(text))
    verdict = judge_address(ip(text), rule=rule, port=80)
    assert not verdict.is_allowed
    assert verdict.code in (codes.ADDRESS_METADATA, codes.ADDRESS_NEVER)


@pytest.mark.parametrize(
    "text", ["::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111", "8.8.8.8"]
)
def test_public_addresses_are_allowed_also_when_mapped_or_translated(text):
    assert judge_address(ip(text), rule=PUBLIC, port=443).is_allowed


@pytest.mark.parametrize("text", ["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"])
def test_private_addresses_inside_ipv6_are_private(text):
    verdict = judge_address(ip(text), rule=PUBLIC, port=443)
    assert verdict.code is codes.ADDRESS_INTERNAL
    assert "10.0.0.1" in verdict.cause


@pytest.mark.parametrize(("text", "name"), [(str(a), n) for a, n in address.METADATA.items()])
@pytest.mark.parametrize("rule", [EXACT, listed("::/0", "0.0.0.0/0")], ids=lambda r: r.trust)
def test_cloud_metadata_is_refused_by_name_whatever_the_policy_says(text, name, rule):
    verdict = judge_address(ip(text), rule=rule, port=80)
    assert verdict.code is codes.ADDRESS_METADATA
    assert name in verdict.cause


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "fe80::1"]
)
@pytest.mark.parametrize(
    "rule", [EXACT, PUBLIC, listed("0.0.0.0/0", "::/0")], ids=lambda r: r.trust
)
def test_case_33_loopback_link_local_and_unspecified_are_refused_always(text, rule):
    assert not judge_address(ip(text), rule=rule, port=443).is_allowed


def test_case_34_private_addresses_are_for_exact_hosts_only():
    assert judge_address(ip("192.168.1.5"), rule=EXACT, port=443).is_allowed
    refused = judge_address(ip("192.168.1.5"), rule=PUBLIC, port=443)
    assert refused.code is codes.ADDRESS_INTERNAL


def test_case_35_one_bad_address_refuses_all():
    mixed = (ip("203.1.1.1"), ip("10.0.0.1"))
    verdict = judge_addresses(mixed, rule=PUBLIC, port=443)
    assert verdict.code is codes.ADDRESS_INTERNAL
    assert verdict.address == ip("10.0.0.1")
    assert judge_addresses(mixed[:1], rule=PUBLIC, port=443).is_allowed


def test_an_empty_answer_is_refused():
    assert judge_addresses((), rule=EXACT, port=443).code is codes.ADDRESS_NONE


@pytest.mark.parametrize("port", [6443, 2379, 2380, 10250, 10255])
@pytest.mark.parametrize("rule", [EXACT, PUBLIC, listed("10.0.0.0/8")], ids=lambda r: r.trust)
def test_case_37_control_plane_ports_are_refused_under_every_rule(port, rule):
    """Stricter than the reference, which does not look at the port for wildcard hosts."""
    verdict = judge_address(ip("10.1.1.1"), rule=rule, port=port)
    assert verdict.code is codes.CONTROL_PLANE_PORT
    assert judge_address(ip("10.1.1.1"), rule=listed("10.0.0.0/8"), port=443).is_allowed


def test_case_39_a_trusted_gateway_is_the_only_link_local_address_ever_dialled():
    rule = address.host_gateway_rule(ip("169.254.1.2"))
    assert judge_address(ip("169.254.1.2"), rule=rule, port=8080).is_allowed
    for other in ("169.254.169.254", "169.254.1.3", "10.0.0.1"):
        assert judge_address(ip(other), rule=rule, port=8080).code is codes.ADDRESS_NOT_GATEWAY


@pytest.mark.parametrize("text", ["169.254.169.254", "10.0.0.1", "127.0.0.1", "8.8.8.8"])
def test_case_39_no_other_address_can_become_the_trusted_gateway(text):
    with pytest.raises(PatternError):
        address.host_gateway_rule(ip(text))


def test_allowed_ips_narrow_what_is_dialled():
    rule = listed("10.1.0.0/16")
    assert judge_address(ip("10.1.2.3"), rule=rule, port=443).is_allowed
    assert judge_address(ip("::ffff:10.1.2.3"), rule=rule, port=443).is_allowed
    for outside in ("10.2.0.1", "8.8.8.8", "2606:4700::1111"):
        verdict = judge_address(ip(outside), rule=rule, port=443)
        assert verdict.code is codes.ADDRESS_NOT_LISTED


@pytest.mark.parametrize("text", ["198.18.0.1", "198.19.255.255", "fdc6:5e1f:9d07::1"])
@pytest.mark.parametrize("rule", [EXACT, listed("0.0.0.0/0", "::/0")], ids=lambda r: r.trust)
def test_synthetic_addresses_are_never_destinations(text, rule):
    assert judge_address(ip(text), rule=rule, port=443).code is codes.ADDRESS_SYNTHETIC


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.0/8",
        "169.254.0.0/16",
        "0.0.0.0/0",
        "::/0",
        "127.0.0.1/32",
        "169.254.169.254/32",
        "224.0.0.0/3",
        "255.255.255.255/32",
        "::1/128",
        "fe80::/10",
        "ff02::1/128",
        "198.18.0.0/15",
        "198.18.7.0/24",
        "fdc6:5e1f:9d07::7:0/112",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "fd00:ec2::254/128",
        "::ffff:10.0.0.0/104",
        "64:ff9b::7f00:0/104",
    ],
)
def test_case_15_allowed_ips_that_hold_forbidden_space_are_refused_at_load(text):
    found = forbidden_allowed_network(ipaddress.ip_network(text))
    assert found is not None
    assert found.code == codes.NETWORK_FORBIDDEN.name


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/8",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "203.0.113.0/24",
        "2000::/3",
        "8.8.8.8/32",
        "64:ff9b::a00:0/104",
    ],
)
def test_private_and_public_networks_may_be_listed(text):
    assert forbidden_allowed_network(ipaddress.ip_network(text)) is None


@given(st.ip_addresses(), st.integers(-1, 70000), st.sampled_from(list(Trust)))
def test_judging_is_total_and_never_allows_loopback(found, port, trust):
    rule = AddressRule(trust=trust, networks=(ipaddress.ip_network(found),))
    verdict = judge_address(found, rule=rule, port=port)
    if verdict.is_allowed:
        assert not found.is_loopback
        assert not found.is_multicast
        assert found not in address.METADATA


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "224.0.0.1", "10.0.0.1"])
def test_a_gateway_rule_made_by_mistake_opens_nothing_but_link_local(text):
    rule = AddressRule(trust=Trust.GATEWAY, networks=(ipaddress.ip_network(text),))
    assert not judge_address(ip(text), rule=rule, port=80).is_allowed
