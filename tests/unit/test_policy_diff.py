"""diff names consequences: what becomes allowed, denied, handled otherwise, or needs a restart."""

from hypothesis import given
from support.generated import WHOLE_POLICIES, policies
from support.loading import loaded

from policy.diff import difference
from policy.model import Policy

HEAD = (
    "version: 1\nnetwork_policies:\n  a:\n    binaries: [{path: /usr/bin/curl}]\n    endpoints:\n"
)
REST = "host: api.example.com, port: 443, protocol: rest"


def policy(*endpoints, more=""):
    return loaded(HEAD + "".join(f"      - {{{it}}}\n" for it in endpoints) + more)


def changes(old: Policy, new: Policy):
    found = difference(old, new)
    return [it.what for it in found.allowed], [it.what for it in found.denied]


def test_texts_that_decide_alike_show_no_difference():
    old = policy(f"{REST}, access: read-only")
    new = loaded("""
        version: 1
        network_policies:
          another-name:
            endpoints:
              - host: API.example.com
                ports: [443]
                protocol: rest
                rules:
                  - allow: {method: OPTIONS, path: "**"}
                  - allow: {method: get, path: "**"}
            binaries: [{path: /usr/bin/curl}]
        """)

    assert difference(old, new).is_empty


def test_a_new_port_is_allowed_and_the_old_one_denied():
    found = changes(policy("host: a.example.com, port: 1"), policy("host: a.example.com, port: 2"))

    assert found == (["connect to a.example.com:2"], ["connect to a.example.com:1"])


def test_a_widened_path_and_a_new_deny_rule_are_told_apart():
    old = policy(f"{REST}, rules: [{{allow: {{method: GET, path: /v1/*}}}}]")
    new = policy(
        f"{REST}, rules: [{{allow: {{method: GET, path: /v1/**}}}}], "
        "deny_rules: [{method: GET, path: /v1/admin}]"
    )

    assert changes(old, new) == (
        ["GET api.example.com:443/v1/**"],
        ["GET api.example.com:443/v1/admin"],
    )


def test_removing_inspection_allows_other_requests_and_says_so():
    old = policy(f"{REST}, access: read-only")
    new = policy("host: api.example.com, port: 443")

    found = difference(old, new)

    assert [it.what for it in found.allowed] == ["other requests api.example.com:443/**"]
    assert [(it.old, it.new) for it in found.handled] == [("inspected: rest", "inspected: no")]


def test_audit_forwards_what_enforce_refused():
    old = policy(f"{REST}, access: read-only")
    new = policy(f"{REST}, access: read-only, enforcement: audit")

    (change,) = difference(old, new).allowed

    assert (change.old, change.new) == ("deny", "audit")


def test_a_program_less_is_denied_for_it_alone():
    old = loaded(
        "version: 1\nnetwork_policies: {a: {endpoints: [{host: a.example.com, port: 1}], "
        "binaries: [{path: /usr/bin/x}, {path: /opt/**}]}}\n"
    )
    new = loaded(
        "version: 1\nnetwork_policies: {a: {endpoints: [{host: a.example.com, port: 1}], "
        "binaries: [{path: /usr/bin/x}]}}\n"
    )

    (change,) = difference(old, new).denied

    assert (change.what, change.binary) == ("connect to a.example.com:1", "/opt/**")
    assert difference(old, new).allowed == ()


def test_where_the_host_may_resolve_to_is_a_difference_in_handling():
    old = policy("host: a.example.com, port: 1")
    new = policy("host: a.example.com, port: 1, allowed_ips: [10.0.0.0/16]")

    (change,) = difference(old, new).handled

    assert (change.old, change.new) == ("addresses: exact-host", "addresses: listed (10.0.0.0/16)")


def test_static_changes_are_named_and_need_a_restart():
    old = loaded("version: 1\nfilesystem_policy: {read_only: [/a], read_write: [/b]}\n")
    new = loaded("""
        version: 1
        filesystem_policy: {read_only: [/a, /c], include_workdir: true}
        process: {run_as_user: "1000"}
        supervisor: {loopback: [80], limits: {nofile: 64}}
        """)

    assert difference(old, new).restart == (
        "/c becomes readable",
        "/b is no longer writable",
        "filesystem_policy.include_workdir: false becomes true",
        "process.run_as_user: unstated becomes 1000",
        "supervisor.limits.nofile: unstated becomes 64",
        "supervisor.loopback: unstated becomes [80]",
    )


@WHOLE_POLICIES
@given(policies)
def test_a_policy_differs_in_nothing_from_itself(policy):
    assert difference(policy, policy).is_empty


@WHOLE_POLICIES
@given(policies, policies)
def test_a_difference_turned_round_swaps_allowed_and_denied(one, other):
    there, back = difference(one, other), difference(other, one)

    # Counted, because what both policies name is told in the words of the newer one.
    assert len(there.allowed) == len(back.denied)
    assert len(there.denied) == len(back.allowed)
    assert len(there.handled) == len(back.handled)
