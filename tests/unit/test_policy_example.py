"""The reference's example (network.md 1.10) checks clean but for what nothing enforces."""

from support.example_policy import EXAMPLE
from support.loading import findings_of, loaded


def test_the_example_has_no_error_only_what_is_not_enforced_and_that_it_names_interpreters():
    found = findings_of(EXAMPLE)
    codes = {finding.code for finding in found}

    assert {finding.severity for finding in found} == {"not-enforced", "warning"}
    assert codes - {code for code in codes if "not-enforced" in code} == {"policy.interpreter"}
    assert sorted(
        code.removeprefix("policy.not-enforced.") for code in codes if "not-" in code
    ) == [
        "credentials",
        "graphql",
        "mcp",
        "middlewares",
        "request-rules",
    ]
    assert all(finding.line > 9 and finding.message and finding.remedy for finding in found)


def test_run_would_refuse_the_example_until_it_accepts_what_is_not_enforced():
    policy = loaded(EXAMPLE)
    accepting = loaded(
        EXAMPLE + "supervisor:\n  accept: [credentials, graphql, mcp, middlewares, request-rules]\n"
    )

    assert len(policy.not_enforced) == 7
    assert accepting.not_enforced == ()
    assert len(accepting.findings) == 8


def test_the_example_is_read_in_full():
    policy = loaded(EXAMPLE)

    rest, graphql = policy.network_policies[0].endpoints
    assert [rule.method for rule in rest.rules] == ["GET", "POST"]
    assert [pattern.text for pattern in rest.rules[1].query[0][1]] == ["true", "false"]
    assert graphql.inspection.registered_queries[0].key == "9f1c…"
    assert policy.network_policies[2].endpoints[0].inspection.body_limit == 131072
    assert policy.middlewares[0].order == 10
    assert policy.process.run_as_user == "1001"
