"""What is checked before a pod's namespace is fenced."""

from ipaddress import ip_interface, ip_network

import pytest

from supervisor.errors import Refusal
from supervisor.fence import checks, pod, removal
from supervisor.fence.request import Loopback, PodRequest, Served
from supervisor.kernel.rtnetlink import Link
from supervisor.kernel.ruleset import (
    Carries,
    HeldChain,
    Icmpv6,
    InState,
    Leaving,
    Mark,
    Marked,
    Owner,
    Protocol,
    State,
    Verdict,
    Zone,
)

REQUEST = PodRequest(egress_uid=64998, workload_uid=2001)
LO = Link("lo", None, up=True)


@pytest.mark.parametrize(("egress", "workload"), [(0, 2001), (64998, 0), (0, 0), (2001, 2001)])
def test_egress_and_workload_must_be_two_ordinary_users(egress, workload):
    with pytest.raises(Refusal) as refused:
        checks.require_distinct_users(PodRequest(egress_uid=egress, workload_uid=workload))

    assert refused.value.code.name == "fence.users-collide"


def test_two_ordinary_users_are_fine():
    checks.require_distinct_users(REQUEST)


@pytest.mark.parametrize(
    "served",
    [
        Served(capture=15001),
        Served(dns=15090),
        Served(proxy=15000),
        Served(capture=53),
        Served(capture=70000),
        Served(capture=0),
        Served(capture=7000, dns=7000),
    ],
)
def test_ports_that_cannot_work_are_refused(served):
    with pytest.raises(Refusal) as refused:
        checks.require_usable_ports(served)

    assert refused.value.code.name == "fence.ports-invalid"


@pytest.mark.parametrize("served", [Served(), Served(1024, 15091, 65535)])
def test_ports_that_can_work_are_accepted(served):
    checks.require_usable_ports(served)


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ([LO, Link("eth0", None, up=True)], "eth0 (hardware)"),
        ([LO, Link("veth1", "veth", up=True), Link("docker0", "bridge", up=False)], "docker0"),
        ([LO, Link("wg0", "wireguard", up=True)], "wg0 (wireguard)"),
        ([LO, Link("gre1", "gre", up=True)], "gre1"),
    ],
)
def test_a_machines_own_namespace_is_refused_and_its_interfaces_named(links, named):
    with pytest.raises(Refusal) as refused:
        checks.require_container(links, initial_user_namespace=True)

    assert refused.value.code.name == "fence.host-namespace"
    assert named in refused.value.cause


@pytest.mark.parametrize(
    "links",
    [
        [LO],
        [LO, Link("eth0", "veth", up=True)],
        [LO, Link("eth0", "macvlan", up=True), Link("net1", "ipvlan", up=True)],
        [LO, Link("eth0", "veth", up=True), Link("tunl0", "ipip", up=False)],
    ],
)
def test_a_containers_namespace_is_fenced(links):
    checks.require_container(links, initial_user_namespace=True)


def test_a_namespace_of_a_user_namespace_of_its_own_is_fenced_whatever_it_has():
    checks.require_container([LO, Link("eth0", None, up=True)], initial_user_namespace=False)


@pytest.mark.parametrize(
    ("addresses", "routes"),
    [
        (["198.18.0.1/15"], []),
        (["198.19.255.254/32"], []),
        (["fdc6:5e1f:9d07::1/64"], []),
        ([], ["198.18.4.0/24"]),
        ([], ["fdc6:5e1f:9d07::/80"]),
    ],
)
def test_an_address_or_route_inside_a_pool_is_refused(addresses, routes):
    with pytest.raises(Refusal) as refused:
        checks.require_free_addresses(
            [ip_interface(text) for text in addresses], [ip_network(text) for text in routes]
        )

    assert refused.value.code.name == "fence.addresses-collide"


def test_neighbouring_networks_and_our_own_traces_are_no_collision():
    checks.require_free_addresses(
        [ip_interface(text) for text in ("10.0.0.1/8", "192.0.2.1/32", "fdc6:5e1f:9d07:1::1/128")],
        [ip_network(text) for text in ("198.0.0.0/8", "198.18.0.0/15", "fdc6:5e1f:9d07::/64")],
    )


@pytest.mark.parametrize(
    ("chain", "refused"),
    [
        (HeldChain("mesh", "out", "nat", 3, -110, 1), True),
        (HeldChain("mesh", "out", "nat", 3, -150, 1), True),
        (HeldChain("mesh", "out", "nat", 3, -100, 1), False),
        (HeldChain("mesh", "in", "nat", 0, -150, 1), False),
        (HeldChain("mesh", "out", "filter", 3, -150, 1), False),
        (HeldChain("mesh", "sub", None, None, None, None), False),
        (HeldChain("sandbox_supervisor", "redirect", "nat", 3, -110, 1), False),
    ],
)
def test_a_redirect_before_ours_is_refused(chain, refused):
    if refused:
        with pytest.raises(Refusal) as refusal:
            checks.require_first_redirect([chain])
        assert refusal.value.cause.startswith("mesh out")
    else:
        checks.require_first_redirect([chain])


def accepting(name):
    (chain,) = (chain for chain in pod.ruleset(REQUEST).chains if chain.name == name)
    return [rule for rule in chain.rules if rule.ending is Verdict.ACCEPT]


def test_every_filter_chain_of_the_pod_form_drops_by_default():
    chains = [chain for chain in pod.ruleset(REQUEST).chains if chain.kind == "filter"]

    drops = {chain.name for chain in chains if chain.default is Verdict.DROP}
    assert drops == {"output", "postrouting", "input", "forward"}
    # The one other comes before tracking and decides nothing: what it accepts still meets "output".
    (other,) = (chain for chain in chains if chain.name not in drops)
    assert other.name == "zones"
    assert [rule.ending for rule in other.rules] == [None]


def test_only_datagrams_are_tracked_apart_and_only_those_of_egress():
    rules = [rule for chain in pod.ruleset(REQUEST).chains for rule in chain.rules]
    zoned = [rule for rule in rules if any(isinstance(one, Zone) for one in rule.statements)]

    assert [rule.matches for rule in zoned] == [(Owner(64998), Carries(Protocol.UDP))]


@pytest.mark.parametrize("allowed", [None, frozenset({8000})])
@pytest.mark.parametrize("name", ["output", "input"])
def test_connection_state_is_never_enough_to_be_accepted(name, allowed):
    table = pod.ruleset(REQUEST._replace(loopback=Loopback(allowed=allowed)))
    (chain,) = (chain for chain in table.chains if chain.name == name)
    by_state = [
        rule
        for rule in chain.rules
        if rule.ending is Verdict.ACCEPT and any(isinstance(m, InState) for m in rule.matches)
    ]

    assert by_state
    for rule in by_state:
        assert any(isinstance(match, Marked | Leaving) for match in rule.matches), rule.comment


def test_only_the_creator_egress_marks_a_connection():
    rules = [rule for chain in pod.ruleset(REQUEST).chains for rule in chain.rules]
    marking = [
        rule for rule in rules if any(isinstance(statement, Mark) for statement in rule.statements)
    ]

    assert [rule.matches for rule in marking] == [(Owner(64998),)]


def test_nothing_new_comes_in_but_discovery_and_loopback():
    comments = [rule.comment for rule in accepting("input")]

    assert comments == [
        "from lo",
        "icmpv6 type 134",
        "icmpv6 type 135",
        "icmpv6 type 136",
        "icmpv6 type 130",
        "to egress",
    ]
    to_egress = accepting("input")[-1]
    assert InState((State.ESTABLISHED, State.RELATED)) in to_egress.matches


def test_only_marked_connections_and_discovery_leave_by_a_wire():
    here, egress, *discovery = accepting("postrouting")

    assert here.matches == (Leaving("lo"),)
    assert [type(match) for match in egress.matches] == [Marked]
    assert {type(match) for rule in discovery for match in rule.matches} == {Icmpv6}


def test_a_closed_port_set_is_what_a_policy_denies_and_what_others_took():
    request = REQUEST._replace(loopback=Loopback(denied=frozenset({1})))
    sets = {
        ports.name: ports.ports for ports in pod.port_sets(request, frozenset({2}), frozenset({3}))
    }

    assert sets == {"closed_tcp": {1, 2}, "closed_udp": {1, 3}}


def test_an_allow_list_opens_the_proxy_too_and_nothing_that_is_denied():
    loopback = Loopback(allowed=frozenset({8000, 8001}), denied=frozenset({8001}))
    sets = {
        ports.name: ports.ports
        for ports in pod.port_sets(REQUEST._replace(loopback=loopback), frozenset({2}), frozenset())
    }

    assert sets == {"open_tcp": {8000, 61080}, "open_udp": {8000}}


@pytest.mark.parametrize("loopback", [Loopback(), Loopback(allowed=frozenset())])
def test_comments_name_each_rule_uniquely(loopback):
    for chain in pod.ruleset(REQUEST._replace(loopback=loopback)).chains:
        comments = [rule.comment for rule in chain.rules]
        assert len(set(comments)) == len(comments)


def test_the_removal_names_everything_that_was_added():
    assert removal.instructions() == (
        "nft delete table inet sandbox_supervisor",
        "ip route delete local 198.18.0.0/15 dev lo",
        "ip route delete local fdc6:5e1f:9d07::/64 dev lo",
        "ip address delete 192.0.2.1/32 dev lo",
        "ip address delete fdc6:5e1f:9d07:1::1/128 dev lo",
    )
