"""Rows E, F, G, I, J, L and N of the attack list, run as the workload in real containers.

One container for each form of the fence runs all of ``support/rows``; here its answers are
judged, each denial beside its paired allowed case, so that a dead egress cannot pass.
"""

import json

from support.attacked import ALLOWED, SMUGGLED
from support.sites import ZONE

NXDOMAIN = {"rcode": 3, "answers": 0}
EMPTY = {"rcode": 0, "answers": 0}
NOT_ALLOWED = "policy.host-not-allowed"
ACCESS_DENIED, UNRECOGNIZED_NAME = "alert 49", "alert 112"
CLOSED_DOOR = {"EPERM", "EACCES", "EHOSTUNREACH", "ECONNREFUSED", "EPROTONOSUPPORT"}
NO_WAY = {"ENETUNREACH", "EINVAL"}


def assert_nothing_left(attacked):
    """Outside, every packet was searched; what was allowed shows that the search works."""
    assert ALLOWED in attacked.outside
    assert SMUGGLED not in attacked.outside


def test_the_attacker_is_the_workload_in_the_form_that_is_meant(attacked):
    nothing = "0" * 16
    assert attacked["who_am_i"] == {"uid": "4242", "caps": nothing, "bound": nothing}
    started = next(event for event in attacked.events if event["event"] == "sandbox.started")
    network = next(
        control for control in started["report"]["controls"] if control["name"] == "network"
    )
    assert network["state"] == "enforced"
    assert attacked.form.fence in json.dumps(network)


def test_e1_tcp_to_an_address_is_refused_fast_and_logged(attacked):
    row = attacked["e1_tcp_to_an_address"]

    assert row["found"] == [NOT_ALLOWED] * 3
    assert row["paired"] == "echoed"
    assert attacked.refused(host="203.0.113.5", port=22)
    assert attacked.refused(host="2001:db8::5", port=443)


def test_e2_e3_e5_no_other_protocol_leaves(attacked):
    row = attacked["e2_e3_e5_datagrams_of_every_kind"]

    assert row["paired"] == 1
    assert set(row["udp"]) <= CLOSED_DOOR
    assert set(row["udplite"]) <= CLOSED_DOOR
    assert {row["sctp"], row["dccp"], row["ping"]} <= CLOSED_DOOR
    assert set(row["raw"]) | {row["packet"]} == {"EPERM"}


def test_e6_multipath_tcp_is_no_way_around(attacked):
    assert attacked["e6_mptcp"]["found"] in {"EPROTONOSUPPORT", NOT_ALLOWED}


def test_e7_the_ports_of_egress_on_another_host_are_not_egress(attacked):
    assert attacked["e7_the_proxys_port_elsewhere"]["found"] == [NOT_ALLOWED] * 3


def test_e9_no_helper_opens_what_a_control_channel_names(attacked):
    row = attacked["e9_what_ftp_announces"]

    assert [line.split()[0] for line in row["paired"]] == ["220", "227"]
    assert row["passive"] == NOT_ALLOWED
    assert row["active"] == "425 no data connection"


def test_e10_odd_packets_do_not_leave(attacked):
    row = dict(attacked["e10_odd_packets"])

    assert row.pop("paired") == ALLOWED.decode()
    assert row.pop("headers of one's own") == "EPERM"
    assert row["short life"][0] == NOT_ALLOWED  # hops are counted from egress on
    answers = {one for it in row.values() for one in (it if isinstance(it, list) else [it])}
    # A time-out is the answer to a source that is not ours: nobody can answer it.
    assert answers <= {NOT_ALLOWED, "timeout", *NO_WAY, *CLOSED_DOOR}
    assert_nothing_left(attacked)


def test_e11_marks_and_devices_lead_nowhere(attacked):
    row = attacked["e11_marks_and_devices"]

    assert row["SO_MARK"] == row["IP_TRANSPARENT"] == "EPERM"
    assert row["by device"] in {"ENODEV", "timeout", NOT_ALLOWED, *CLOSED_DOOR}


def test_e13_what_listens_at_the_gateway_is_not_reached_by_address(attacked):
    assert attacked["e13_the_gateway_and_what_listens_there"]["found"] == [NOT_ALLOWED] * 5


def test_e14_the_rules_are_out_of_reach(attacked):
    row = attacked["e14_the_rules"]

    assert row["netfilter"] in {"EPROTONOSUPPORT", "EPERM"}
    assert row["unshare"] == 1  # EPERM


def test_e15_the_fence_stands_before_the_first_act(attacked):
    row = attacked["e15_the_first_thing_a_workload_does"]

    assert row["paired"] == ALLOWED.decode()
    assert {*row["found"]} <= {NOT_ALLOWED, *CLOSED_DOOR}
    assert_nothing_left(attacked)


def test_e15_there_is_no_gap_while_policy_is_replaced(attacked):
    """The test replaces it four times and back; an allowed tunnel answers throughout."""
    row = attacked["e15_while_policy_is_replaced"]

    assert row["turns"] > 20
    assert {*row["found"]} <= {NOT_ALLOWED, *CLOSED_DOOR}
    assert len([event for event in attacked.events if event["event"] == "policy.loaded"]) >= 2
    assert_nothing_left(attacked)


def test_e17_ipv6_has_no_neighbours(attacked):
    row = attacked["e17_ipv6_neighbours"]

    assert row["paired"] == ALLOWED.decode()
    assert {*row["far"]} <= {NOT_ALLOWED, *CLOSED_DOOR}
    assert {*row["near"]} <= {NOT_ALLOWED, "timeout", *NO_WAY, *CLOSED_DOOR}
    assert_nothing_left(attacked)


def test_e17_a_group_that_a_program_joins_is_told_to_nobody(attacked):
    row = attacked["e17_names_of_groups"]

    assert row["paired"] == ALLOWED.decode()
    assert row["other option"] == 7
    assert set(row["found"]) == {"ENODEV"}
    assert_nothing_left(attacked)


def test_e18_a_mapped_address_is_judged_as_the_address(attacked):
    assert attacked["e18_mapped"]["found"] == NOT_ALLOWED


def test_e19_a_port_scan_finds_nothing_and_stops_nobody(attacked):
    row = attacked["e19_a_port_scan"]

    assert row["found"] == ["taken"]  # every port looks the same: egress takes and refuses
    assert row["paired"] == "echoed"


def test_f1_a_refused_name_never_leaves(attacked):
    assert attacked["f1_labels_of_a_refused_name"]["found"] == [NXDOMAIN] * 20
    assert not [name for name in attacked.asked if "evil" in name]


def test_f2_names_under_a_wildcard_leave_a_few_at_a_time(attacked):
    """Sixty new ones a minute; asking without connecting tells nobody anything."""
    row = attacked["f2_labels_under_a_wildcard"]

    assert row["paired"] == "echoed"
    assert row["asked"] == [0]
    assert set(row["found"]) == {"egress.name-budget", "egress.resolve-failed"}
    secrets = {name.split(".")[0] for name in attacked.asked if name.startswith("secret")}
    assert 1 <= len(secrets) <= 60


def test_f3_other_types_have_no_answer(attacked):
    assert set(map(json.dumps, attacked["f3_other_types"].values())) == {json.dumps(EMPTY)}
    assert not [name for name in attacked.asked if not name.endswith(("IN A", "IN AAAA"))]


def test_f5_whichever_resolver_is_asked_policy_answers(attacked):
    assert set(map(json.dumps, attacked["f5_other_resolvers"].values())) == {json.dumps(NXDOMAIN)}
    assert not [name for name in attacked.asked if name.startswith("unnamed")]


def test_f6_g3_a_name_that_leads_inside_is_not_dialled(attacked):
    assert attacked["f6_rebinding"] == {
        "rebind": "policy.address-metadata",
        "mixed": "policy.address-never",
        "loop": "policy.address-never",
        "mapped": "policy.address-metadata",
        "private.public": "policy.address-internal",
    }


def test_f7_an_address_is_closed_when_its_name_is_taken_away(attacked):
    row = attacked["f7_an_address_after_its_name_was_taken_away"]

    assert row["paired"] == ALLOWED.decode()
    assert row["address"] == NOT_ALLOWED
    assert "not known" in row["name"]


def test_f9_f11_only_one_spelling_of_a_name_is_that_name(attacked):
    row = dict(attacked["f9_spellings"])

    assert row.pop("trailing dot") == "echoed"
    assert row.pop("case") == {"rcode": 0, "answers": 1}
    malformed = {row.pop("64 bytes")["rcode"], row.pop("loop")["rcode"]}
    assert malformed == {1}
    assert set(map(json.dumps, row.values())) == {json.dumps(NXDOMAIN)}


def test_f10_names_are_absolute(attacked):
    row = attacked["f10_search_domains"]

    assert "not known" in row["own"]
    assert row["paired"] == "echoed"


def test_g_hosts_that_are_none_are_refused_by_the_proxy(attacked):
    row = attacked["g1_g2_g3_g5_hosts_that_are_none"]

    assert row["paired"] == "HTTP/1.1 200 Connection established"
    assert {answer.split()[1] for answer in row["found"].values()} == {"400", "403"}


def test_h2_the_target_and_host_must_agree(attacked):
    row = attacked["h2_absolute_form"]

    assert row["found"].split()[1] == "421"
    assert row["paired"].split()[1] == "200"


def test_i1_an_allowed_name_does_not_open_another_address(attacked):
    row = attacked["i1_an_allowed_name_at_another_address"]

    assert row == {"found": [ACCESS_DENIED] * 2, "paired": "server hello"}


def test_i2_fronting_needs_an_endpoint_that_says_so(attacked):
    row = attacked["i2_a_name_behind_another"]

    assert row["found"] == UNRECOGNIZED_NAME
    assert row["opaque"] == row["paired"] == "server hello"
    assert attacked.refused(code="egress.tls-name-mismatch", host=f"echo.{ZONE}")


def test_i3_a_hello_names_the_host_exactly_once(attacked):
    row = dict(attacked["i3_odd_names"])

    assert {row.pop("paired"), row.pop("case")} == {"server hello"}
    assert set(row.values()) <= {ACCESS_DENIED, UNRECOGNIZED_NAME}


def test_i5_a_hello_in_pieces_is_read_as_a_whole(attacked):
    row = attacked["i5_hellos_in_pieces"]

    assert row["bytes"] == row["records"] == "server hello"
    assert row["other by bytes"] == row["other in records"] == UNRECOGNIZED_NAME
    assert row["tls 1.0"] == UNRECOGNIZED_NAME
    assert row["junk"] == ACCESS_DENIED
    assert row["starttls"] == "STARTTLS\r\n"  # not TLS: the endpoint's rule is about the connection


def test_j1_a_script_is_its_interpreter_and_nothing_else(attacked):
    """What it is called does not count. That it may do what the interpreter may is said at load."""
    row = dict(attacked["j1_scripts_of_an_interpreter"])

    assert (row.pop("paired script"), row.pop("paired")) == ("200", "404")
    assert set(row.values()) == {"403"}, row
    # Who reads the policy tells it: in a sidecar pod that is not the workload's supervisor.
    reports = [
        event.get("report", event) for event in attacked.events if "started" in event["event"]
    ]
    told = [one for report in reports for one in report.get("warnings", ())]
    warnings = [one for one in told if "policy.interpreter" in one]
    assert len(warnings) == 1
    assert "/usr/bin/python3.11" in warnings[0]


def test_j2_variables_that_load_code_do_not_arrive_and_give_no_other_identity(attacked):
    row = attacked["j2_variables_that_load_code"]

    assert row == {"arrived": [], "paired variable": "C.UTF-8", "found": "403", "paired": "404"}


def test_j3_only_the_file_itself_is_the_program(attacked):
    row = attacked["j3_the_allowed_program_by_other_ways"]

    assert row["paired"] == row["/proc/self/root"] == "404"  # the site's own answer
    assert {row["loader"], row["copy"], row["same name"]} == {"403"}
    assert row["argv[0]"] == "policy.binary-not-allowed"
    assert row["link"] in {"EPERM", "EXDEV", "EACCES"}


def test_j5_the_memory_of_an_allowed_program_is_not_written(attacked):
    row = attacked["j5_the_memory_of_an_allowed_program"]

    assert row["found"] in {"EACCES", "EPERM"}
    assert row["paired"]


def test_j6_an_allowed_program_does_not_vouch_for_who_shares_its_socket(attacked):
    """The paired one: both are allowed, curl through its ancestor."""
    row = attacked["j6_a_socket_that_two_programs_hold"]

    assert row == {"found": "policy.binary-not-allowed", "paired": "HTTP/1.1 200 OK"}


def test_j6_an_allowed_program_that_takes_a_number_does_not_vouch_for_who_was_given_it(attacked):
    row = attacked["j6_an_allowed_program_at_the_port_that_tracking_gave"]

    assert row == {"renumbered": True, "found": "policy.binary-not-allowed", "paired": "404"}


def test_j7_nobody_hides_behind_a_thread(attacked):
    assert attacked["j7_a_holder_whose_first_thread_has_ended"]["found"].split()[1] == "403"
    own_table = attacked["j7_a_thread_with_a_file_table_of_its_own"]
    assert own_table == {"unshare": "EPERM", "close_range": "EINVAL"}


def test_j7_a_server_that_waits_makes_nobody_unknown(attacked):
    row = attacked["j7_a_thread_that_waits_in_accept"]

    assert row == {"during": ["404", "403"], "paired": "404"}


def test_j7_a_search_over_its_budget_is_a_denial_and_the_next_one_works(attacked):
    row = attacked["j7_very_many_descriptors"]

    assert row["during"] in {"policy.caller-over-budget", "echoed"}
    assert row["paired"] == "echoed"


def test_l14_proxy_variables_change_nothing(attacked):
    assert attacked["l14_proxy_variables"] == {"found": "403", "paired": "404"}


def test_n1_a_fork_bomb_meets_the_limit_and_egress_answers(attacked):
    row = attacked["n1_a_fork_bomb"]

    assert row["stopped by"] == "EAGAIN"
    assert row["during"] in {"policy.caller-over-budget", "echoed"}
    assert row["paired"] == "echoed"


def test_n3_idle_tunnels_and_a_slow_reader_cost_others_nothing(attacked):
    row = attacked["n3_idle_tunnels_and_a_slow_reader"]

    assert row["newcomer"] == "echoed"
    assert row["old"] == "still"
    assert row["swallowed"] > 1 << 16  # the slow one was served, too, until buffers were full


def test_n6_hashing_a_large_program_stalls_no_tunnel(attacked):
    """A gigabyte takes a while; no answer of a tunnel may wait for as much as half of it."""
    row = attacked["n6_hashing_does_not_stop_the_others"]

    assert row["slowest"] < row["seconds"] / 2
