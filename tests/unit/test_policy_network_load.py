"""network.md section 6, cases 2 to 15 and what loading decides of the later ones."""

import pytest
from support.loading import codes_of, errors_of, findings_of, loaded


def with_endpoint(endpoint, binaries="[{path: /usr/bin/curl}]"):
    return (
        f"version: 1\nnetwork_policies:\n  entry:\n    endpoints:\n      - {endpoint}\n"
        f"    binaries: {binaries}\n"
    )


def refused(endpoint):
    """The codes of the errors about one endpoint in flow style."""
    return codes_of(with_endpoint("{" + endpoint + "}"))


def endpoint_of(text):
    return loaded(with_endpoint("{" + text + "}")).network_policies[0].endpoints[0]


REST = "host: api.example.com, port: 443, protocol: rest"
RULE = "{allow: {method: GET, path: /x}}"


# --- case 2: ports -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "code"),
    [
        ("port: 443, ports: [443]", "policy.no-destination"),
        ("port: 0", "policy.out-of-range"),
        ("port: 70000", "policy.out-of-range"),
        ("ports: [443, 65536]", "policy.out-of-range"),
        ("ports: []", "policy.out-of-range"),
        ('port: "443"', "policy.wrong-kind"),
        ("port: 443.0", "policy.wrong-kind"),
        ("port: [443]", "policy.wrong-kind"),
    ],
)
def test_case_2_ports_are_stated_once_and_in_range(ports, code):
    assert refused(f"host: a.example.com, {ports}") == {code}


def test_an_endpoint_without_port_or_destination_is_refused():
    assert refused("host: a.example.com") == {"policy.no-destination"}
    assert refused("port: 443") == {"policy.no-destination"}


def test_ports_are_kept_sorted_and_once():
    assert endpoint_of("host: a.example.com, ports: [8443, 443, 443]").ports == (443, 8443)


# --- case 3: hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "**",
        "*.com",
        "a**.example.com",
        "x.a*.example.com",
        "api.vendor.*",
        "**.com",
        "2130706433",
    ],
)
def test_case_3_hosts_that_match_too_much_or_nothing_are_refused(host):
    (code,) = refused(f"host: '{host}', port: 443")

    assert code.startswith(("policy.pattern-host", "policy.host-"))


@pytest.mark.parametrize(
    "host", ["*.example.com", "**.example.com", "*-api.example.com", "*.s3.*.amazonaws.com"]
)
def test_case_3_sound_host_patterns_are_accepted(host):
    assert endpoint_of(f"host: '{host}', port: 443").host.text == host


def test_hosts_are_canonical_once_loaded():
    assert endpoint_of("host: API.Example.COM., port: 443").host.text == "api.example.com"


# --- cases 5 to 7, 14: protocols and their keys ---------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("protocol: mcp, access: full", "policy.key-not-for-protocol"),
        ("protocol: json-rpc", "policy.rules-missing"),
        ("protocol: json-rpc, access: full", "policy.key-not-for-protocol"),
        ("protocol: rest", "policy.rules-missing"),
        ("protocol: websocket", "policy.rules-missing"),
        ("protocol: graphql", "policy.rules-missing"),
        ("protocol: mcp", "policy.rules-missing"),
        ("protocol: rest, access: read-only, rules: [" + RULE + "]", "policy.contradiction"),
        ("protocol: rest, rules: []", "policy.out-of-range"),
        ("deny_rules: [{method: GET, path: /x}]", "policy.rules-without-protocol"),
        ("rules: [" + RULE + "]", "policy.rules-without-protocol"),
        ("access: read-only", "policy.rules-without-protocol"),
        ("protocol: rest, deny_rules: [{method: GET, path: /x}]", "policy.rules-missing"),
        ("protocol: rest, access: read-only, deny_rules: []", "policy.out-of-range"),
        ("protocol: rest, access: readonly", "policy.unknown-word"),
        ("protocol: REST, access: full", "policy.unknown-word"),
        ("protocol: http, access: full", "policy.unknown-word"),
        ("protocol: '', access: full", "policy.unknown-word"),
        ("protocol: rest, access: full, enforcement: enfroce", "policy.unknown-word"),
        ("protocol: rest, access: full, enforcement: Enforce", "policy.unknown-word"),
        ("protocol: rest, access: full, tls: none", "policy.unknown-word"),
        ("protocol: rest, access: full, tls: skip", "policy.contradiction"),
        (
            "protocol: rest, access: full, mcp: {strict_tool_names: true}",
            "policy.key-not-for-protocol",
        ),
        ("protocol: rest, access: full, graphql_max_body_bytes: 0", "policy.out-of-range"),
        ("protocol: graphql, access: full, graphql_max_body_bytes: 0", "policy.out-of-range"),
        ("path: /v1/**", "policy.key-not-for-protocol"),
        ("allow_encoded_slash: true", "policy.key-not-for-protocol"),
        ("enforcement: audit", "policy.key-not-for-protocol"),
        ("protocol: sql, rules: [{allow: {command: SELECT}}]", "policy.contradiction"),
        ("protocol: rest, access: full, credential_signing: sigv4", "policy.missing-key"),
        (
            (
                "protocol: rest, access: full, credential_signing: sigv4, signing_service: s3, "
                "request_body_credential_rewrite: true"
            ),
            "policy.contradiction",
        ),
        ("protocol: graphql, access: full, persisted_queries: allow", "policy.unknown-word"),
        ("protocol: rest, access: full, path: v1", "policy.pattern-path-form"),
    ],
)
def test_keys_that_contradict_or_would_be_ignored_are_refused(endpoint, code):
    found = refused(f"host: api.example.com, port: 443, {endpoint}")

    assert code in found, found


def test_case_6_deny_rules_beside_access_are_accepted():
    endpoint = endpoint_of(f"{REST}, access: read-write, deny_rules: [{{method: GET, path: /x}}]")

    assert [rule.method for rule in endpoint.rules] == [
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
        "PUT",
        "PATCH",
    ]
    assert [rule.path.text for rule in endpoint.deny_rules] == ["/x"]


def test_an_unstated_enforcement_is_enforce():
    assert endpoint_of(f"{REST}, access: full").enforcement == "enforce"
    assert endpoint_of(f"{REST}, access: full, enforcement: audit").enforcement == "audit"


@pytest.mark.parametrize(
    "extra",
    ["host: 10.0.0.5", "host: a.example, rules: [" + RULE + "]", "host: a.example, path: /x"],
)
def test_case_7_tcp_takes_a_name_and_nothing_of_requests(extra):
    assert refused(f"{extra}, port: 5432, protocol: tcp") == {"policy.key-not-for-protocol"}


def test_case_7_tcp_by_name_is_accepted():
    endpoint = endpoint_of("host: db.example, port: 5432, protocol: tcp")

    assert (endpoint.protocol, endpoint.host.text, endpoint.ports) == ("tcp", "db.example", (5432,))


# --- case 9: tools -------------------------------------------------------------------------------


def mcp(rules, extra=""):
    return refused(f"host: mcp.example.com, port: 80, protocol: mcp, rules: [{rules}]{extra}")


CALL_A = "{allow: {method: tools/call, tool: a}}"


def test_case_9_a_broad_tool_rule_beside_a_narrow_one_is_refused():
    assert mcp(f"{{allow: {{method: tools/call}}}}, {CALL_A}") == {"policy.broad-tool-rule"}
    assert mcp(f'{{allow: {{method: "tools/*"}}}}, {CALL_A}') == {"policy.broad-tool-rule"}


def test_case_9_the_two_spellings_of_a_tool_exclude_each_other():
    assert mcp("{allow: {method: tools/call, tool: a, params: {name: a}}}") == {
        "policy.contradiction"
    }
    assert mcp("{allow: {method: tools/call, params: {name: a}}}") == set()
    assert mcp("{allow: {method: tools/call, params: {other: a}}}") == {"policy.unknown-key"}


@pytest.mark.parametrize(
    ("rules", "extra", "code"),
    [
        ("{allow: {method: tools/list, tool: a}}", "", "policy.rule-never-matches"),
        ("{allow: {tool: a}}", "", "policy.rule-never-matches"),
        ('{allow: {method: "resources/*"}}', "", "policy.unknown-word"),
        (
            '{allow: {method: tools/call, tool: "a*"}}',
            ", mcp: {strict_tool_names: false}",
            "policy.contradiction",
        ),
        ("{allow: {method: tools/call, path: /x}}", "", "policy.key-not-for-protocol"),
    ],
)
def test_mcp_rules_that_cannot_mean_what_they_say_are_refused(rules, extra, code):
    assert mcp(rules, extra) == {code}


def test_a_tool_implies_its_method_where_all_methods_are_allowed():
    assert mcp("{allow: {tool: a}}", ", mcp: {allow_all_known_mcp_methods: true}") == set()


# --- rules that can never match ------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        f"{REST}, rules: [{{allow: {{method: GET}}}}]",
        f"{REST}, rules: [{{allow: {{path: /x}}}}]",
        f"{REST}, access: full, deny_rules: [{{method: POST}}]",
        f"{REST}, path: /v1/**, rules: [{{allow: {{method: GET, path: /v2/x}}}}]",
        f"{REST}, access: full, path: /v1/**, deny_rules: [{{method: GET, path: /v2/**}}]",
        f'{REST}, access: full, deny_rules: [{{method: "*", path: "**"}}]',
        f"{REST}, rules: [{{allow: {{method: GET, path: /a%2Fb}}}}]",
        "host: w.example.com, port: 443, protocol: websocket, rules: [{allow: {method: POST, path: /x}}]",
        'host: j.example.com, port: 443, protocol: json-rpc, rules: [{allow: {method: "eth_*"}}]',
        "host: 127.0.0.1, port: 443",
        "host: 169.254.169.254, port: 80",
        "host: '[::1]', port: 80",
        "host: 10.0.0.1, port: 80, allowed_ips: [10.1.0.0/16]",
        "host: k8s.example.com, port: 6443",
        "host: k8s.example.com, ports: [443, 2379]",
    ],
)
def test_what_can_never_match_is_an_error(endpoint):
    assert "policy.rule-never-matches" in refused(endpoint)


@pytest.mark.parametrize("path", ["x", "/a//b", "/a/../b", "/a?b", "/a{b,c}", "/a/**b"])
def test_a_path_pattern_that_no_canonical_path_matches_is_refused(path):
    (code,) = refused(f"{REST}, rules: [{{allow: {{method: GET, path: '{path}'}}}}]")

    assert code.startswith("policy.pattern-")


def test_an_entry_without_binaries_or_endpoints_is_refused():
    text = "version: 1\nnetwork_policies: {a: {endpoints: [], binaries: []}}\n"

    assert errors_of(text) == [("policy.rule-never-matches", 2), ("policy.rule-never-matches", 2)]
    assert codes_of("version: 1\nnetwork_policies: {a: {}}\n") == {"policy.rule-never-matches"}


def test_an_empty_map_of_entries_denies_all_and_a_null_one_is_refused():
    assert loaded("version: 1\nnetwork_policies: {}\n").network_policies == ()
    assert codes_of("version: 1\nnetwork_policies:\n") == {"policy.wrong-kind"}


def test_an_empty_list_never_means_everything():
    assert refused("host: a.example.com, port: 443, allowed_ips: []") == {"policy.out-of-range"}


@pytest.mark.parametrize("key", ["_provider_x", '"a b"', '"a\\nb"', "a" * 65, '"é"'])
def test_entry_names_are_short_plain_words(key):
    assert (
        codes_of(
            f"version: 1\nnetwork_policies: {{? {key} : {{endpoints: [{{host: a.example.com, port: 1}}], "
            "binaries: [{path: /**}]}}\n"
        )
        <= {"policy.reserved-name", "policy.bad-key"}
        != set()
    )


# --- case 13: middlewares -------------------------------------------------------------------------


def middlewares(text, endpoints="{host: raw.example.com, port: 443, tls: skip}"):
    return codes_of(with_endpoint(endpoints) + f"network_middlewares: {{{text}}}\n")


def one(order, include="other.example.com", extra=""):
    return f'{{middleware: m, order: {order}, endpoints: {{include: ["{include}"]}}{extra}}}'


def test_case_13_orders_are_unique_and_ten_middlewares_are_enough():
    assert middlewares(f"a: {one(1)}, b: {one(2)}") == set()
    assert middlewares(f"a: {one(1)}, b: {one(1)}") == {"policy.contradiction"}
    eleven = ", ".join(f"m{number}: {one(number)}" for number in range(11))
    assert middlewares(eleven) == {"policy.out-of-range"}


@pytest.mark.parametrize(
    "include", ["raw.example.com", "*.example.com", "**.com", "**", "raw.**", "r*.example.*"]
)
def test_case_13_a_selector_that_must_not_fail_cannot_cover_a_raw_tunnel(include):
    assert middlewares(f"a: {one(1, include)}") == {"policy.contradiction"}
    assert middlewares(f"a: {one(1, include, ', on_error: fail_open')}") == set()


@pytest.mark.parametrize("include", ["other.example.com", "*.com", "example.com", "**.example.org"])
def test_a_selector_beside_the_raw_tunnel_is_fine(include):
    assert middlewares(f"a: {one(1, include)}") == set()


# --- case 15: addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        "127.0.0.0/8", "127.0.0.1", "169.254.0.0/16", "169.254.169.254", "0.0.0.0/0", "0.0.0.0",
        "::1", "::/0", "fe80::/10", "::ffff:127.0.0.1", "224.0.0.0/4", "240.0.0.0/4",
        "198.18.0.0/15", "100.100.100.200", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_case_15_networks_that_are_never_dialled_are_refused_at_load(network):
    assert refused(f"host: a.example.com, port: 443, allowed_ips: ['{network}']") == {
        "policy.network-forbidden"
    }


@pytest.mark.parametrize(
    "network", ["10.0.0.1/8", "10.0.0", "x", "10.0.0.0/33", "fe80::1%eth0", "010.0.0.1"]
)
def test_what_is_no_network_is_refused(network):
    assert (
        refused(f"host: a.example.com, port: 443, allowed_ips: ['{network}']")
        <= {
            "policy.network-syntax",
            "policy.network-forbidden",
        }
        != set()
    )


def test_a_very_wide_network_is_only_a_warning():
    found = findings_of(
        with_endpoint("{host: a.example.com, port: 443, allowed_ips: [10.0.0.0/8]}")
    )

    assert [(f.code, f.severity) for f in found] == [("policy.network-wide", "warning")]


def test_an_endpoint_of_addresses_alone_needs_no_host():
    endpoint = endpoint_of("allowed_ips: [10.1.0.0/16], port: 8080")

    assert endpoint.host is None
    assert [str(network) for network in endpoint.allowed_ips] == ["10.1.0.0/16"]


# --- binaries and our extensions ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["curl", "/usr/../bin/curl", "/usr//bin/curl", "/usr/bin/", "/a/**b"]
)
def test_a_binary_that_the_kernel_would_never_report_is_refused(path):
    (code,) = codes_of(with_endpoint("{host: a.example.com, port: 443}", f"[{{path: '{path}'}}]"))

    assert code.startswith("policy.pattern-")


def test_binaries_can_be_pinned_and_endpoints_can_refuse_ech():
    digest = "a" * 64
    policy = loaded(
        with_endpoint(
            "{host: a.example.com, port: 443, supervisor: {ech: refuse}}",
            f"[{{path: /usr/bin/curl, supervisor: {{sha256: [{digest}]}}}}]",
        )
    )

    entry = policy.network_policies[0]
    assert entry.endpoints[0].ech == "refuse"
    assert entry.binaries[0].sha256 == frozenset({digest})


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "sha256:" + "a" * 64])
def test_a_digest_that_is_none_is_refused(digest):
    binaries = f"[{{path: /usr/bin/curl, supervisor: {{sha256: ['{digest}']}}}}]"

    assert codes_of(with_endpoint("{host: a.example.com, port: 443}", binaries)) == {
        "policy.digest-syntax"
    }


def test_deprecated_words_are_read_as_the_reference_reads_them_and_remarked():
    text = with_endpoint(
        "{host: a.example.com, port: 443, tls: terminate}", "[{path: /usr/bin/x, harness: true}]"
    )

    assert loaded(text).network_policies[0].endpoints[0].tls == "auto"
    assert {f.code for f in findings_of(text)} == {"policy.deprecated"}
