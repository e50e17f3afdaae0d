"""The format of ``policy test``, and that a wrong expectation fails."""

import pytest
from support.loading import loaded

from policy.expectations import check, read_expectations
from policy.findings import PolicyError
from policy.index import compile_policy
from policy.intent import ConnectionIntent, RequestIntent

POLICY = """
    version: 1
    network_policies:
      api:
        endpoints:
          - {host: api.example.com, port: 443, protocol: rest, access: read-only,
             enforcement: audit}
          - {host: db.example.com, port: 5432, protocol: tcp}
        binaries: [{path: /usr/bin/curl}]
    """


def outcomes(tests):
    suite = read_expectations(
        f"version: 1\npolicy: p.yaml\ntests:\n{tests}".encode(), file="t.yaml"
    )
    index = compile_policy(loaded(POLICY))
    return [check(index, expectation) for expectation in suite.expectations]


def intent_of(asked):
    suite = read_expectations(
        f"version: 1\npolicy: p.yaml\nbinary: /b\ntests: [{{allow: {asked}}}]\n".encode(), file="t"
    )
    return suite.expectations[0].intent


@pytest.mark.parametrize(
    ("asked", "host", "port", "method", "path", "query"),
    [
        ("GET https://a.example/x/y?q=1", "a.example", 443, "GET", "/x/y", "q=1"),
        ("PUT http://a.example", "a.example", 80, "PUT", "/", ""),
        ("GET https://a.example:8443/", "a.example", 8443, "GET", "/", ""),
        ('"GET https://[2001:db8::1]/x"', "[2001:db8::1]", 443, "GET", "/x", ""),
        ('"GET https://[2001:db8::1]:444/x"', "[2001:db8::1]", 444, "GET", "/x", ""),
        (
            '{host: a.example, port: 1, http: {method: GET, path: /x, query: "a=b"}}',
            "a.example", 1, "GET", "/x", "a=b",
        ),
    ],
)  # fmt: skip
def test_requests_are_read_from_both_forms(asked, host, port, method, path, query):
    assert intent_of(asked) == RequestIntent(
        connection=ConnectionIntent(host=host, port=port, binary="/b"),
        method=method,
        path=path,
        query=query,
    )


def test_connections_are_read_from_both_forms():
    expected = ConnectionIntent(host="a.example", port=22, binary="/b")

    assert intent_of("CONNECT a.example:22") == expected
    assert intent_of("{host: a.example, port: 22}") == expected


def test_expectations_that_hold_and_that_do_not():
    found = outcomes("""
  - {allow: GET https://api.example.com/x, binary: /usr/bin/curl}
  - {deny: GET https://api.example.com/x, binary: /usr/bin/curl}
  - {audit: PUT https://api.example.com/x, binary: /usr/bin/curl}
  - {deny: GET https://api.example.com/x, binary: /usr/bin/wget, code: policy.binary-not-allowed}
  - {deny: GET https://api.example.com/x, binary: /usr/bin/wget, code: policy.host-not-allowed}
  - allow: {host: db.example.com, port: 5432, binary: /bin/sh, ancestors: [/usr/bin/curl]}
  - allow: {host: db.example.com, port: 5432, binary: /usr/bin/curl}
    resolves: [10.0.0.1]
  - deny: {host: db.example.com, port: 5432, binary: /usr/bin/curl}
    resolves: [10.0.0.1, 127.0.0.1]
    code: policy.address-never
""")

    assert [it.passed for it in found] == [True, False, True, True, False, True, True, True]
    assert found[1].expectation.origin.line == 6
    assert found[4].answer.code.name == "policy.binary-not-allowed"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "policy.empty"),
        ("version: 1\ntests: [{allow: CONNECT a.example:1}]\n", "policy.missing-key"),
        ("version: 1\npolicy: a\npreset: npm\ntests: [{allow: CONNECT a.example:1}]\n", "policy.missing-key"),
        ("version: 1\npolicy: a\ntests: []\n", "policy.out-of-range"),
        ("version: 1\npolicy: a\ntests: [{name: x}]\n", "policy.missing-key"),
        ("version: 1\npolicy: a\ntests: [{allow: CONNECT a:1, deny: CONNECT a:1}]\n", "policy.missing-key"),
        ("version: 1\npolicy: a\ntests: [{allow: GET a.example}]\n", "policy.unknown-word"),
        ("version: 1\npolicy: a\ntests: [{allow: CONNECT a.example}]\n", "policy.unknown-word"),
        ("version: 1\npolicy: a\ntests: [{allow: CONNECT a.example:x}]\n", "policy.unknown-word"),
        ("version: 1\npolicy: a\ntests: [{deny: CONNECT a:1, code: no.such}]\n", "policy.unknown-word"),
        ("version: 1\npolicy: a\ntests: [{deny: CONNECT a:1, resolves: [x]}]\n", "policy.network-syntax"),
        ("version: 1\npolicy: a\ntests: [{deny: {host: a, port: 1, mcp: {}}}]\n", "policy.unknown-key"),
    ],
)  # fmt: skip
def test_a_file_of_expectations_that_means_nothing_is_refused(text, code):
    with pytest.raises(PolicyError) as refused:
        read_expectations(text.encode(), file="t.yaml")

    assert code in {finding.code for finding in refused.value.findings}
