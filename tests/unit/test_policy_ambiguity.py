"""network.md 1.7: endpoints that apply to the same traffic must agree, unless programs differ."""

import pytest
from support.loading import codes_of, findings_of

CURL = "[{path: /usr/bin/curl}]"


def two(first, second, *, second_binaries=CURL, same_entry=False):
    if same_entry:
        return (
            f"version: 1\nnetwork_policies:\n  a: {{endpoints: [{{{first}}}, {{{second}}}], "
            f"binaries: {CURL}}}\n"
        )
    return (
        f"version: 1\nnetwork_policies:\n"
        f"  a: {{endpoints: [{{{first}}}], binaries: {CURL}}}\n"
        f"  b: {{endpoints: [{{{second}}}], binaries: {second_binaries}}}\n"
    )


HOST = "host: api.example.com, port: 443"
WIDE = "host: '*.example.com', port: 443"
REST = "protocol: rest, access: read-only"


@pytest.mark.parametrize("same_entry", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (HOST, f"{HOST}, tls: skip", "tls"),
        (WIDE, f"{HOST}, tls: skip", "tls"),
        (f"{HOST}, tls: skip", WIDE, "tls"),
        (HOST, f"{HOST}, allowed_ips: [10.0.0.0/16]", "allowed_ips"),
        (HOST, "port: 443, allowed_ips: [10.0.0.0/16]", "allowed_ips"),
        (HOST, f"{HOST}, protocol: tcp", "native_tcp"),
        (HOST, f"{HOST}, supervisor: {{ech: refuse}}", "ech"),
        (f"{HOST}, {REST}", f"{HOST}, {REST}, enforcement: audit", "enforcement"),
        (f"{HOST}, {REST}", f"{HOST}, protocol: graphql, access: full", "protocol"),
        (f"{HOST}, {REST}", f"{WIDE}, {REST}, allow_encoded_slash: true", "inspection"),
        (f"{HOST}, {REST}", f"{HOST}, {REST}, path: '**', enforcement: audit", "enforcement"),
    ],
)
def test_endpoints_that_contradict_each_other_are_refused(first, second, what, same_entry):
    found = findings_of(two(first, second, same_entry=same_entry))

    errors = [f for f in found if f.severity == "error"]
    assert [f.code for f in errors] == ["policy.ambiguous-endpoints"]
    assert what in errors[0].message
    assert "policy.yaml:3:" in errors[0].message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (HOST, HOST),
        (HOST, "host: api.example.com, port: 8443, tls: skip"),
        (HOST, "host: www.example.com, port: 443, tls: skip"),
        (WIDE, "host: a.b.example.com, port: 443, tls: skip"),
        (HOST, f"{HOST}, {REST}"),
        (
            f"{HOST}, {REST}",
            f"{HOST}, protocol: rest, rules: [{{allow: {{method: POST, path: /x}}}}]",
        ),
        (
            f"{HOST}, {REST}, path: /v1/**",
            f"{HOST}, {REST}, path: /v1/admin/**, enforcement: audit",
        ),
        (f"{HOST}, {REST}, path: /v1/**", f"{HOST}, {REST}, path: /v2/**, enforcement: audit"),
    ],
)
def test_endpoints_that_agree_or_never_meet_are_fine(first, second):
    assert codes_of(two(first, second)) == set()


def test_entries_of_different_programs_may_differ():
    text = two(HOST, f"{HOST}, tls: skip", second_binaries="[{path: /usr/bin/git}]")

    assert codes_of(text) == set()


def test_entries_whose_program_patterns_meet_may_not_differ():
    text = two(HOST, f"{HOST}, tls: skip", second_binaries="[{path: /usr/**}]")

    assert codes_of(text) == {"policy.ambiguous-endpoints"}


def test_many_wildcards_that_differ_only_in_their_rules_need_no_comparison():
    endpoints = ", ".join(
        f"{{host: '*.h{n}.example.com', port: 443, {REST}, path: /p{n}/**}}" for n in range(1500)
    )
    plain = ", ".join(f"{{host: '*.k{n}.example.com', port: 443}}" for n in range(1500))
    text = f"version: 1\nnetwork_policies:\n  a: {{endpoints: [{endpoints}, {plain}], binaries: {CURL}}}\n"

    assert codes_of(text) == set()


def test_a_policy_made_to_need_endless_comparisons_is_refused_in_bounded_time():
    def endpoints(tls):
        return ", ".join(f"{{host: '*.h{n}.example.com', port: 443{tls}}}" for n in range(1500))

    text = (
        f"version: 1\nnetwork_policies:\n  a: {{endpoints: [{endpoints('')}, "
        f"{endpoints(', tls: skip').replace('.h', '.k')}], binaries: {CURL}}}\n"
    )

    assert codes_of(text) == {"policy.too-large"}
