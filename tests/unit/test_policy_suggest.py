"""Suggestions are followed to the letter and must lead to what was asked, and to nothing wider."""

import dataclasses

import pytest
from support.built_policies import CURL, binary, endpoint, entry, policy, rest

from policy import codes
from policy.decide import decide_connection, decide_request
from policy.index import compile_policy
from policy.intent import ConnectionIntent, RequestIntent
from policy.network import Inspection
from policy.suggest import explain

HOST = "api.example.com"


def connection(host=HOST, port=443, binary=CURL, **more):
    return ConnectionIntent(host=host, port=port, binary=binary, **more)


def asking(method, path, query="", **more):
    return RequestIntent(connection=connection(**more), method=method, path=path, query=query)


def decide(whole, intent):
    index = compile_policy(whole)
    if isinstance(intent, RequestIntent):
        return decide_request(index, intent)
    return decide_connection(index, intent)


def _rule(value):
    allow = value["allow"]
    query = {
        key: tuple(found["any"]) if isinstance(found, dict) else found
        for key, found in allow.get("query", {}).items()
    }
    return rest(allow["method"], allow["path"], **query)


def _endpoint(value):
    fields = {key: value[key] for key in ("protocol", "path") if key in value}
    if "rules" in value:
        fields["rules"] = tuple(_rule(rule) for rule in value["rules"])
    return endpoint(value["host"], value["port"], **fields)


def follow(whole, suggestion):
    """The policy with the change made, as a person would make it in the file."""
    if suggestion.action == "add-entry":
        ((key, value),) = suggestion.value.items()
        paths = tuple(b["path"] for b in value["binaries"])
        added = entry(key, *map(_endpoint, value["endpoints"]), binaries=paths)
        return dataclasses.replace(whole, network_policies=(*whole.network_policies, added))
    if suggestion.action == "accept-feature":
        accept = frozenset(suggestion.value)
        return dataclasses.replace(
            whole, supervisor=dataclasses.replace(whole.supervisor, accept=accept)
        )
    key = suggestion.path.split(".")[1]
    return dataclasses.replace(
        whole,
        network_policies=tuple(
            _changed(one, suggestion) if one.key == key else one for one in whole.network_policies
        ),
    )


def _changed(one, suggestion):
    value = suggestion.value
    match suggestion.action:
        case "add-binary":
            return dataclasses.replace(one, binaries=(*one.binaries, binary(value["path"])))
        case "add-digest":
            pinned = binary(value["path"], value["sha256"])
            return dataclasses.replace(one, binaries=(*one.binaries, pinned))
        case "add-endpoint":
            return dataclasses.replace(one, endpoints=(*one.endpoints, _endpoint(value)))
    number = int(suggestion.path.split("[")[1].split("]")[0])
    old = one.endpoints[number]
    match suggestion.action:
        case "add-port":
            new = dataclasses.replace(old, ports=tuple(value))
        case "add-rule":
            new = dataclasses.replace(old, rules=(*old.rules, _rule(value)))
        case "replace-access":
            new = dataclasses.replace(old, access=None, rules=tuple(map(_rule, value["rules"])))
        case "allow-encoded-slash":
            new = dataclasses.replace(old, inspection=Inspection(allow_encoded_slash=True))
    several = list(one.endpoints)
    several[number] = new
    return dataclasses.replace(one, endpoints=tuple(several))


PLAIN = policy(entry("api", endpoint(HOST, line=3)))
REST = policy(entry("api", endpoint(HOST, rules=(rest("GET", "/v1/**"),), line=3)))
PRESET = policy(entry("api", endpoint(HOST, access="read-only")))
ROUTED = policy(entry("api", endpoint(HOST, path="/v1/**", rules=(rest("GET"),))))
PINNED = policy(entry("api", endpoint(HOST), binaries=(binary(CURL, "a" * 64),)))
SLASH = policy(
    entry(
        "api",
        endpoint(HOST, rules=(rest("GET"),)),
        endpoint(HOST, path="/x/**", rules=(rest("GET"),), allow_encoded_slash=True),
    )
)


@pytest.mark.parametrize(
    ("whole", "intent", "action"),
    [
        (policy(), connection(), "add-entry"),
        (PLAIN, connection("other.example.com"), "add-entry"),
        (PLAIN, asking("POST", "/a/../b", "k=v", host="other.example.com"), "add-entry"),
        (PLAIN, connection(port=8443), "add-port"),
        (PLAIN, connection(port=8443, binary="/bin/x"), "add-entry"),
        (PLAIN, connection(binary="/bin/x"), "add-binary"),
        (PINNED, connection(digests=("b" * 64,)), "add-digest"),
        (REST, asking("POST", "/v1/x"), "add-rule"),
        (REST, asking("POST", "/v1/x", "draft=true&tag=a&tag=b"), "add-rule"),
        (REST, asking("POST", "/v1/x", "a=1;b=2"), "add-rule"),
        (REST, asking("OPTIONS", "*"), "add-rule"),
        (PRESET, asking("DELETE", "/v1/x"), "replace-access"),
        (ROUTED, asking("GET", "/v2/x"), "add-endpoint"),
        (SLASH, asking("GET", "/a%2fb"), "allow-encoded-slash"),
        (policy(entry("q", endpoint(HOST, protocol="graphql"))), connection(), "accept-feature"),
    ],
)
def test_following_a_suggestion_allows_exactly_what_was_asked(whole, intent, action):
    before = decide(whole, intent)
    assert before.verdict == "deny"
    suggestion = explain(compile_policy(whole), intent).suggestion
    assert suggestion.action == action
    changed = follow(whole, suggestion)
    assert decide(changed, intent).verdict == "allow"
    for other in (connection("evil.example.com"), connection(binary="/bin/evil")):
        assert decide(changed, other).verdict == "deny"


@pytest.mark.parametrize(
    ("intent", "code"),
    [
        (connection("127.1"), codes.HOST_NUMERIC),
        (connection(binary=None), codes.CALLER_UNKNOWN),
        (asking("TRACE", "/"), codes.METHOD_REFUSED),
        (asking("GET", "/%zz"), codes.PATH_ESCAPE),
        (asking("GET", "/%zz", host="other.example.com"), codes.HOST_NOT_ALLOWED),
    ],
)
def test_where_no_policy_could_allow_it_the_request_must_change(intent, code):
    explained = explain(compile_policy(REST), intent)
    assert explained.decision.code is code
    assert explained.suggestion.action == "change-request"


def test_a_deny_rule_is_never_argued_away_but_shown():
    whole = policy(
        entry("api", endpoint(HOST, rules=(rest("*"),), deny_rules=(rest("GET", "/s", line=9),)))
    )
    explained = explain(compile_policy(whole), asking("GET", "/s"))
    assert explained.suggestion.action == "change-policy"
    assert explained.suggestion.origin.line == 9
    assert explained.as_dict()["rule"] == {
        "path": "network_policies.api.endpoints[0].deny_rules[0]",
        "file": "policy.yaml",
        "line": 9,
        "column": 1,
    }


def test_the_json_of_an_allowed_connection_says_what_it_is_bound_to():
    whole = policy(
        entry("net", endpoint(None, 443, allowed_ips=("10.0.0.0/8",), rules=(rest("*"),)))
    )
    found = explain(compile_policy(whole), connection("svc.local")).as_dict()
    assert found["verdict"] == "allow"
    assert found["suggestion"] is None
    assert found["connection"] == {
        "addresses": "listed",
        "networks": ["10.0.0.0/8"],
        "tls": "auto",
        "ech": "tolerate",
        "inspect": ["rest"],
        "not_enforced": [],
    }
