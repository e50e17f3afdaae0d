"""Connections and requests: network.md section 6, cases 17 to 51 that concern the decision."""

import ipaddress

import pytest
from support.policies import CURL, binary, endpoint, entry, policy, rest

from policy import codes
from policy.address import Trust, judge_addresses
from policy.decide import decide_connection, decide_request
from policy.index import compile_policy
from policy.intent import Caller, CallerProblem, ConnectionIntent, RequestIntent

HOST = "api.example.com"


def connect(index, host=HOST, port=443, binary=CURL, ancestors=(), **more):
    intent = ConnectionIntent(host=host, port=port, binary=binary, ancestors=ancestors, **more)
    return decide_connection(index, intent)


def request(index, method, path, query="", host=HOST, port=443, **caller):
    caller.setdefault("binary", CURL)
    connection = ConnectionIntent(host=host, port=port, **caller)
    intent = RequestIntent(connection=connection, method=method, path=path, query=query)
    return decide_request(index, intent)


def plain(*entries, **options):
    return compile_policy(policy(*entries), **options)


def rules_of(*rules, **fields):
    return plain(entry("api", endpoint(HOST, rules=rules, **fields)))


# --- connections ---------------------------------------------------------------------------------


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


# --- requests ------------------------------------------------------------------------------------


def test_case_42_get_covers_head_but_not_options():
    index = rules_of(rest("GET", "/x"))
    assert request(index, "GET", "/x").verdict == "allow"
    assert request(index, "HEAD", "/x").verdict == "allow"
    assert request(index, "OPTIONS", "/x").code is codes.REQUEST_NOT_ALLOWED


def test_case_43_read_write_does_not_cover_delete():
    index = plain(entry("api", endpoint(HOST, access="read-write")))
    assert request(index, "PATCH", "/x").verdict == "allow"
    assert request(index, "DELETE", "/x").code is codes.REQUEST_NOT_ALLOWED


def test_case_45_a_deny_rule_wins_also_from_another_entry():
    deny = (rest("DELETE", "/admin/**", line=9),)
    index = rules_of(rest("*"), deny_rules=deny)
    decision = request(index, "DELETE", "/admin/a")
    assert (decision.code, decision.rule.origin.line) == (codes.REQUEST_DENIED, 9)
    assert decision.rule.path == "network_policies.api.endpoints[0].deny_rules[0]"
    assert request(index, "DELETE", "/other").verdict == "allow"
    split = plain(
        entry("a", endpoint(HOST, rules=(rest("*"),))),
        entry("b", endpoint(HOST, rules=(rest("GET"),), deny_rules=deny)),
    )
    assert request(split, "DELETE", "/admin/a").code is codes.REQUEST_DENIED


def test_a_deny_rule_of_an_endpoint_that_the_caller_does_not_match_is_none_of_its_business():
    index = plain(
        entry("a", endpoint(HOST, rules=(rest("*"),))),
        entry(
            "b", endpoint(HOST, rules=(rest("*"),), deny_rules=(rest("*"),)), binaries=("/bin/b",)
        ),
    )
    assert request(index, "GET", "/").verdict == "allow"


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        ("state=open", "allow"),
        ("state=open&state=x", "deny"),
        ("", "deny"),
        ("state=open&z=1", "allow"),
        ("%73tate=op%65n", "allow"),
        ("state=open;state=x", "deny"),
        ("z=1;state=open", "deny"),
        ("state=open&z=%zz", "deny"),
        ("STATE=open", "deny"),
    ],
)
def test_case_46_an_allow_rule_needs_each_key_and_every_value(query, verdict):
    index = rules_of(rest("GET", "/issues", state="open"))
    assert request(index, "GET", "/issues", query).verdict == verdict


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        ("force=true&force=false", "deny"),
        ("", "allow"),
        ("force=false", "allow"),
        ("x=1;force=true", "deny"),
        ("force=tru%65", "deny"),
        ("force=%zz", "deny"),
    ],
)
def test_case_46_a_deny_rule_needs_each_key_and_one_value(query, verdict):
    index = rules_of(rest("*"), deny_rules=(rest("DELETE", "/x", force="true"),))
    assert request(index, "DELETE", "/x", query).verdict == verdict


def test_alternatives_for_a_value_are_any_of_them():
    index = rules_of(rest("POST", "/issues", draft=("true", "f*")))
    assert request(index, "POST", "/issues", "draft=true&draft=false").verdict == "allow"
    assert request(index, "POST", "/issues", "draft=no").verdict == "deny"


@pytest.mark.parametrize("spelling", ["/a/../admin", "/a/%2e%2e/admin", "//admin", "/admin;x=1"])
def test_case_47_spellings_of_a_path_are_judged_and_sent_as_one(spelling):
    index = rules_of(rest("*"), deny_rules=(rest("*", "/admin"),))
    decision = request(index, "GET", spelling)
    assert (decision.code, decision.path) == (codes.REQUEST_DENIED, "/admin")
    assert request(rules_of(rest("GET", "/admin")), "GET", spelling).path == "/admin"


@pytest.mark.parametrize(
    "path", ["/a%00", "/a\x80", "/%zz", "/a#b", "/../x", "/a/../../x", "x", ""]
)
def test_case_49_paths_that_cannot_be_read_are_refused_also_in_audit_mode(path):
    index = rules_of(rest("*"), enforcement="audit")
    decision = request(index, "GET", path)
    assert decision.verdict == "deny"
    assert decision.code.name.startswith("policy.path-")


def test_case_50_audit_mode_forwards_what_it_would_refuse_and_says_so():
    index = rules_of(rest("GET"), enforcement="audit")
    assert request(index, "GET", "/x").verdict == "allow"
    decision = request(index, "DELETE", "/x")
    assert (decision.verdict, decision.code) == ("audit", codes.REQUEST_NOT_ALLOWED)
    assert decision.is_forwarded


def test_a_deny_rule_that_is_enforced_holds_on_a_path_that_is_audited():
    """Stricter than the reference, which takes the mode of the narrowest endpoint alone."""
    index = plain(
        entry(
            "api",
            endpoint(HOST, rules=(rest("*"),), deny_rules=(rest("*", "/v1/secret"),)),
            endpoint(HOST, path="/v1/**", rules=(rest("*"),), enforcement="audit"),
        )
    )
    assert request(index, "GET", "/v1/secret").verdict == "deny"


def test_case_51_the_narrowest_path_decides_and_no_path_is_no_route():
    index = plain(
        entry(
            "api",
            endpoint(HOST, path="/v1/**", rules=(rest("GET"),), enforcement="audit"),
            endpoint(HOST, path="/v1/admin/**", rules=(rest("GET"),)),
        )
    )
    assert request(index, "POST", "/v1/x").verdict == "audit"
    assert request(index, "POST", "/v1/admin/x").verdict == "deny"
    assert request(index, "GET", "/v2/x").code is codes.NO_ROUTE
    only_audit = plain(
        entry("api", endpoint(HOST, path="/v1/**", rules=(rest("GET"),), enforcement="audit"))
    )
    assert request(only_audit, "GET", "/v2").verdict == "deny"


def test_an_encoded_slash_needs_the_chosen_endpoint_to_allow_it():
    index = plain(
        entry(
            "npm",
            endpoint(HOST, path="/pkg/**", rules=(rest("GET"),), allow_encoded_slash=True),
            endpoint(HOST, path="/pkg/secret/**", rules=(rest("GET"),)),
        )
    )
    assert request(index, "GET", "/pkg/@scope%2fname").path == "/pkg/@scope%2Fname"
    refused = request(index, "GET", "/pkg/secret/a%2fb")
    assert refused.code is codes.PATH_ENCODED_SLASH
    without = rules_of(rest("GET"))
    assert request(without, "GET", "/a%2fb").code is codes.PATH_ENCODED_SLASH


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("get", codes.METHOD_INVALID),
        ("GET ", codes.METHOD_INVALID),
        ("", codes.METHOD_INVALID),
        ("G\u00c9T", codes.METHOD_INVALID),
        ("A" * 33, codes.METHOD_INVALID),
        ("TRACE", codes.METHOD_REFUSED),
        ("CONNECT", codes.METHOD_REFUSED),
    ],
)
def test_method_tricks_are_refused_whatever_the_rules_say(method, code):
    assert request(rules_of(rest("*")), method, "/").code is code


def test_extension_methods_follow_the_rules():
    index = rules_of(rest("PROPFIND", "/dav/**"))
    assert request(index, "PROPFIND", "/dav/x").verdict == "allow"
    assert request(index, "MKCOL", "/dav/x").code is codes.REQUEST_NOT_ALLOWED


def test_options_for_the_server_needs_a_rule_for_every_path():
    assert request(rules_of(rest("OPTIONS")), "OPTIONS", "*").verdict == "allow"
    assert request(rules_of(rest("OPTIONS", "/x")), "OPTIONS", "*").verdict == "deny"
    assert request(rules_of(rest("*")), "GET", "*").code is codes.PATH_FORM


def test_a_request_over_a_plain_endpoint_is_allowed_and_called_uninspected():
    decision = request(plain(entry("api", endpoint(HOST))), "DELETE", "/%zz")
    assert (decision.verdict, decision.code) == ("allow", codes.REQUEST_UNINSPECTED)


def test_a_request_over_a_connection_that_is_not_allowed_is_denied_for_that_reason():
    index = rules_of(rest("*"))
    assert request(index, "GET", "/", port=80).code is codes.PORT_NOT_ALLOWED


def test_an_error_of_the_evaluator_is_a_denial():
    index = plain(entry("api", endpoint(HOST, rules=(rest("*"),))))
    broken = ConnectionIntent(host=None, port=443, binary=CURL)
    decision = decide_connection(index, broken)
    assert (decision.verdict, decision.code) == ("deny", codes.EVALUATOR_ERROR)
    asked = RequestIntent(connection=broken, method="GET", path="/")
    assert decide_request(index, asked).code is codes.EVALUATOR_ERROR
