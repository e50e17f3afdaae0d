"""Requests: network.md section 6, cases 42 to 51 that concern the decision."""

import pytest
from support.asking import HOST, plain, request, rules_of
from support.built_policies import CURL, endpoint, entry, rest

from policy import codes
from policy.decide import decide_connection, decide_request
from policy.intent import ConnectionIntent, RequestIntent


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


def test_a_plus_in_a_query_is_a_space():
    index = rules_of(rest("GET", "/search", q="a b"))
    assert request(index, "GET", "/search", "q=a+b").verdict == "allow"
    assert request(index, "GET", "/search", "q=a%2Bb").verdict == "deny"


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
    dots = request(index, "GET", "/pkg/a%2f..%2fb")
    assert dots.code is codes.PATH_AMBIGUOUS_DOTS
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
