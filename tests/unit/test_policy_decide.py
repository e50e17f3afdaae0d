"""Connections: network.md section 6, cases 17 to 41 that concern the decision."""

import ipaddress

import pytest
from support.asking import HOST, connect, plain, request
from support.built_policies import CURL, binary, endpoint, entry, policy

from policy import codes
from policy.address import Trust, judge_addresses
from policy.index import compile_policy
from policy.intent import Caller, CallerProblem


def test_case_17_without_network_policies_nothing_is_reachable():
    decision = connect(plain(), "example.com")
    assert (decision.verdict, decision.code) == ("deny", codes.NO_NETWORK)


@pytest.mark.parametrize("spelling", ["API.Example.COM", "api.example.com.", "api.example.com"])
def test_case_18_case_and_trailing_dot_do_not_matter(spelling):
    decision = connect(plain(entry("api", endpoint(HOST))), spelling)
    assert (decision.verdict, decision.code) == ("allow", codes.ALLOWED)
    assert decision.rule.path == "network_policies.api.endpoints[0]"


def test_case_19_another_port_is_denied_and_the_code_says_port():
    decision = connect(plain(entry("api", endpoint(HOST))), port=8443)
    assert decision.code is codes.PORT_NOT_ALLOWED


def test_case_21_another_binary_is_denied_and_the_rule_says_where_it_would_belong():
    decision = connect(plain(entry("api", endpoint(HOST, line=7))), binary="/usr/bin/wget")
    assert decision.code is codes.BINARY_NOT_ALLOWED
    assert (decision.rule.entry, decision.rule.origin.line) == ("api", 7)


def test_case_22_an_ancestor_grants_to_what_it_starts():
    index = plain(entry("api", endpoint(HOST), binaries=("/usr/bin/agent",)))
    assert connect(index, ancestors=("/bin/sh", "/usr/bin/agent")).verdict == "allow"
    assert connect(index, ancestors=("/bin/sh", "/usr/bin/init")).code is codes.BINARY_NOT_ALLOWED


def test_case_23_a_star_in_a_binary_is_one_segment_two_are_any_number():
    one = plain(entry("api", endpoint(HOST), binaries=("/opt/tools/*",)))
    many = plain(entry("api", endpoint(HOST), binaries=("/opt/tools/**",)))
    assert connect(one, binary="/opt/tools/x").verdict == "allow"
    assert connect(one, binary="/opt/tools/d/x").code is codes.BINARY_NOT_ALLOWED
    assert connect(many, binary="/opt/tools/d/x").verdict == "allow"
    assert connect(many, binary="/opt/toolsx").code is codes.BINARY_NOT_ALLOWED


def test_case_25_a_listed_link_counts_with_the_file_behind_it():
    entries = entry("api", endpoint(HOST), binaries=("/usr/bin/python3",))
    target = "/usr/bin/python3.12"
    assert connect(plain(entries), binary=target).code is codes.BINARY_NOT_ALLOWED
    index = plain(entries, links={"/usr/bin/python3": target})
    assert connect(index, binary=target).verdict == "allow"
    assert connect(index, binary="/usr/bin/python3").verdict == "allow"


def test_case_26_a_changed_binary_is_denied_by_pin_or_by_first_use():
    pinned = binary(CURL, "a" * 64)
    index = plain(entry("api", endpoint(HOST), binaries=(pinned,)))
    assert connect(index, digests=("a" * 64,)).verdict == "allow"
    assert connect(index, digests=("b" * 64,)).code is codes.BINARY_DIGEST
    assert connect(index).code is codes.BINARY_DIGEST, "an unknown digest is no digest"
    changed = connect(plain(entry("api", endpoint(HOST))), problem=CallerProblem.CHANGED)
    assert changed.code is codes.CALLER_CHANGED


def test_a_pin_on_an_ancestor_or_glob_looks_at_the_digest_of_that_file():
    pinned = binary("/opt/**", "a" * 64)
    index = plain(entry("api", endpoint(HOST), binaries=(pinned,)))
    agent = {"ancestors": ("/bin/sh", "/opt/agent")}
    assert connect(index, **agent, digests=(None, None, "a" * 64)).verdict == "allow"
    assert connect(index, **agent, digests=("a" * 64, None, None)).code is codes.BINARY_DIGEST


def test_case_27_host_and_binary_must_be_in_the_same_entry():
    index = plain(
        entry("a", endpoint("a.example.com"), binaries=("/bin/x",)),
        entry("b", endpoint("b.example.com"), binaries=("/bin/y",)),
    )
    assert connect(index, "a.example.com", binary="/bin/x").verdict == "allow"
    assert connect(index, "a.example.com", binary="/bin/y").code is codes.BINARY_NOT_ALLOWED


def test_case_29_a_hostless_endpoint_admits_any_name_within_its_networks():
    index = plain(entry("net", endpoint(None, 8080, allowed_ips=("10.1.0.0/16",))))
    decision = connect(index, "svc.local", 8080)
    assert decision.verdict == "allow"
    rule = decision.admission.addresses
    inside, outside = ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("10.2.0.1")
    assert judge_addresses((inside,), rule=rule, port=8080).is_allowed
    assert judge_addresses((outside,), rule=rule, port=8080).code is codes.ADDRESS_NOT_LISTED
    assert connect(index, "svc.local", 443).code is codes.PORT_NOT_ALLOWED


def test_case_30_a_client_that_dials_an_address_does_not_match_a_name():
    index = plain(entry("api", endpoint(HOST), endpoint("*.example.com")))
    assert connect(index, "93.184.216.34").code is codes.HOST_NOT_ALLOWED
    literal = plain(entry("api", endpoint("192.0.2.7")))
    decision = connect(literal, "::ffff:192.0.2.7")
    assert decision.verdict == "allow"
    assert [str(n) for n in decision.admission.addresses.networks] == ["192.0.2.7/32"]


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (CallerProblem.VANISHED, codes.CALLER_VANISHED),
        (CallerProblem.UNREADABLE, codes.CALLER_UNREADABLE),
        (CallerProblem.OVER_BUDGET, codes.CALLER_OVER_BUDGET),
        (None, codes.CALLER_UNKNOWN),
    ],
)
def test_case_31_a_caller_that_could_not_be_identified_is_denied_with_its_own_code(problem, code):
    index = plain(entry("api", endpoint(HOST)))
    assert connect(index, binary=None, problem=problem).code is code


def test_an_entry_without_binaries_is_for_nobody_unless_programs_cannot_be_told_apart():
    entries = entry("api", endpoint(HOST), binaries=())
    assert connect(plain(entries)).code is codes.BINARY_NOT_ALLOWED
    assert connect(plain(entries, mode="any"), binary=None).verdict == "allow"


def test_case_34_only_an_exact_host_opens_private_addresses():
    index = plain(entry("api", endpoint(HOST), endpoint("*.wild.example.com")))
    assert connect(index).admission.addresses.trust is Trust.EXACT_HOST
    wild = connect(index, "a.wild.example.com")
    assert wild.admission.addresses.trust is Trust.PUBLIC


def test_case_37_control_plane_ports_are_denied_before_anything_is_resolved():
    index = plain(entry("api", endpoint(HOST, 6443, 443, allowed_ips=("10.0.0.0/8",))))
    assert connect(index, port=6443).code is codes.CONTROL_PLANE_PORT
    assert connect(index).verdict == "allow"


def test_case_39_names_of_the_host_gateway_lead_to_the_trusted_address_only():
    gateway = ipaddress.ip_address("169.254.1.2")
    entries = entry("host", endpoint("host.docker.internal", 8080), endpoint("*.docker.internal"))
    index = plain(entries, gateway=gateway)
    rule = connect(index, "host.docker.internal", 8080).admission.addresses
    assert judge_addresses((gateway,), rule=rule, port=8080).is_allowed
    metadata = ipaddress.ip_address("169.254.169.254")
    assert judge_addresses((metadata,), rule=rule, port=8080).code is codes.ADDRESS_NOT_GATEWAY
    starred = connect(index, "host.docker.internal", 443).admission.addresses
    assert starred.trust is Trust.GATEWAY
    assert connect(plain(entries), "host.docker.internal").admission.addresses.trust is Trust.PUBLIC
    both = connect(index, "host.docker.internal", 8080, others=(Caller(binary=CURL),))
    assert both.admission.addresses == rule


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "::1", "198.18.0.1"])
def test_a_forbidden_address_as_host_is_denied_even_if_a_policy_names_it(host):
    decision = connect(plain(entry("bad", endpoint(host))), host)
    assert decision.verdict == "deny"
    assert decision.code in (codes.ADDRESS_METADATA, codes.ADDRESS_NEVER, codes.ADDRESS_SYNTHETIC)


@pytest.mark.parametrize(
    "spelling", ["0x7f000001", "2130706433", "0177.0.0.1", "127.1", "127.0.0.1.", "①②⑦.0.0.1"]
)
def test_case_41_other_spellings_of_an_address_are_refused_before_resolution(spelling):
    """The reference normalises and refuses the address; we refuse the spelling, with its own code."""
    index = plain(
        entry("bad", endpoint("127.0.0.1"), endpoint(None, 443, allowed_ips=("8.8.8.8/32",)))
    )
    decision = connect(index, spelling)
    assert decision.code in (codes.HOST_NUMERIC, codes.HOST_DISGUISED_DIGITS)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist_is_denied(port):
    assert connect(plain(entry("api", endpoint(HOST))), port=port).code is codes.PORT_INVALID


def test_the_rule_named_is_the_one_with_the_smallest_key():
    index = plain(entry("z", endpoint(HOST)), entry("b", endpoint(HOST)))
    assert connect(index).rule.entry == "b"


def test_case_57_a_plain_endpoint_in_another_entry_does_not_undo_inspection():
    index = plain(
        entry("a", endpoint(HOST, tls="skip")),
        entry("b", endpoint(HOST, access="read-only")),
    )
    decision = connect(index)
    assert decision.admission.inspect == {"rest"}
    assert decision.admission.tls == "auto"
    assert request(index, "DELETE", "/x").code is codes.REQUEST_NOT_ALLOWED


def test_several_endpoints_together_are_as_strict_as_the_strictest():
    index = plain(
        entry("a", endpoint(HOST, tls="skip", ech="refuse")), entry("b", endpoint("*.example.com"))
    )
    admission = connect(index).admission
    assert (admission.tls, admission.ech) == ("auto", "refuse")


def test_the_exact_name_of_one_endpoint_counts_beside_the_star_of_another():
    index = plain(entry("a", endpoint("*.example.com")), entry("b", endpoint(HOST, tls="skip")))
    assert connect(index).admission.addresses.trust is Trust.EXACT_HOST


def test_a_plain_endpoint_does_not_open_what_an_unevaluated_one_guards():
    index = plain(
        entry("a", endpoint(HOST, protocol="graphql")), entry("b", endpoint("*.example.com"))
    )
    assert connect(index).code is codes.NOT_ENFORCED
    assert connect(index, "b.example.com").verdict == "allow"


def test_endpoints_whose_networks_differ_are_denied_instead_of_guessed():
    index = plain(
        entry("a", endpoint(HOST, allowed_ips=("10.0.0.0/8",))),
        entry("b", endpoint("*.example.com", allowed_ips=("192.168.0.0/16",))),
    )
    assert connect(index).code is codes.AMBIGUOUS
    assert connect(index, "b.example.com").verdict == "allow"


def test_every_holder_of_a_socket_must_be_allowed():
    index = plain(entry("api", endpoint(HOST)), entry("b", endpoint(HOST), binaries=("/bin/b",)))
    good, bad = Caller(binary="/bin/b"), Caller(binary="/bin/evil")
    assert connect(index, others=(good,)).verdict == "allow"
    assert connect(index, others=(good, bad)).code is codes.BINARY_NOT_ALLOWED
    gone = Caller(problem=CallerProblem.VANISHED)
    assert connect(index, others=(gone,)).code is codes.CALLER_VANISHED


def test_holders_that_would_get_different_things_are_denied():
    index = plain(
        entry("a", endpoint(HOST, access="read-only")),
        entry("b", endpoint(HOST), binaries=("/bin/b",)),
    )
    assert connect(index, others=(Caller(binary="/bin/b"),)).code is codes.HOLDERS_DIFFER


def test_requests_of_shared_sockets_are_judged_for_every_holder():
    index = plain(
        entry("a", endpoint(HOST, access="full")),
        entry("b", endpoint(HOST, access="read-only"), binaries=("/bin/b",)),
    )
    both = (Caller(binary="/bin/b"),)
    assert request(index, "GET", "/x", others=both).verdict == "allow"
    assert request(index, "POST", "/x").verdict == "allow"
    assert request(index, "POST", "/x", others=both).code is codes.REQUEST_NOT_ALLOWED


@pytest.mark.parametrize("protocol", ["websocket", "graphql", "json-rpc", "mcp", "sql"])
def test_a_protocol_that_nothing_evaluates_is_denied_unless_the_policy_accepts_it(protocol):
    entries = entry("api", endpoint(HOST, protocol=protocol))
    assert connect(plain(entries)).code is codes.NOT_ENFORCED
    accepted = compile_policy(policy(entries, accept=(protocol,)))
    decision = connect(accepted)
    assert decision.verdict == "allow"
    assert decision.admission.not_enforced == {protocol}
    assert request(accepted, "POST", "/x").code is codes.REQUEST_UNINSPECTED


def test_request_rules_may_be_accepted_unread_inside_tls_and_go_on_judging_plain_requests():
    entries = entry("api", endpoint(HOST, access="read-only"))
    strict = connect(compile_policy(policy(entries))).admission
    accepted = compile_policy(policy(entries, accept=("request-rules",)))
    admission = connect(accepted).admission

    assert (strict.judges_plain_requests, strict.judges_hidden_requests) == (True, True)
    assert (admission.judges_plain_requests, admission.judges_hidden_requests) == (True, False)
    assert request(accepted, "DELETE", "/x").code is codes.REQUEST_NOT_ALLOWED


def test_an_unevaluated_endpoint_beside_a_rest_one_leaves_the_connection_to_its_requests():
    index = plain(
        entry(
            "forge",
            endpoint(HOST, path="/v3/**", access="read-only"),
            endpoint(HOST, path="/graphql", protocol="graphql"),
        )
    )
    assert connect(index).verdict == "allow"
    assert request(index, "GET", "/v3/x").verdict == "allow"
    assert request(index, "POST", "/graphql").code is codes.NOT_ENFORCED
