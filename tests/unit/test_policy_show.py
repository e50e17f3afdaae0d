"""show(load(x)) loads, decides like x, and says where each part comes from."""

from dataclasses import replace

from hypothesis import given
from support.example_policy import EXAMPLE
from support.generated import WHOLE_POLICIES, policies, questions
from support.loading import loaded

from policy.diff import decide, difference
from policy.index import compile_policy
from policy.load import load
from policy.show import as_yaml, document_of


def shown(policy):
    return load(as_yaml(document_of(policy)).encode(), file="shown")


def without_short_forms(policy):
    """What show writes out, so that the word which stood for it is gone."""
    entries = tuple(
        replace(entry, endpoints=tuple(replace(it, access=None) for it in entry.endpoints))
        for entry in policy.network_policies
    )
    supervisor = replace(policy.supervisor, presets=())
    return replace(policy, network_policies=entries, supervisor=supervisor, file="shown")


@WHOLE_POLICIES
@given(policies, questions)
def test_what_is_shown_decides_like_the_policy(policy, asked):
    before, after = compile_policy(policy), compile_policy(shown(policy))

    for intent in asked:
        one, other = decide(before, intent), decide(after, intent)
        assert (one.verdict, one.code, one.admission) == (
            other.verdict,
            other.code,
            other.admission,
        )


@WHOLE_POLICIES
@given(policies)
def test_what_is_shown_is_the_same_policy_and_shows_itself(policy):
    again = shown(policy)

    assert again == without_short_forms(policy)
    assert as_yaml(document_of(again)).count("# from shown:") >= len(again.network_policies)
    assert difference(policy, again).is_empty


def test_the_example_comes_back_whole():
    policy = loaded(EXAMPLE)

    assert shown(policy) == without_short_forms(policy)


def test_every_static_key_and_extension_comes_back():
    policy = loaded("""
        version: 1
        filesystem_policy: {include_workdir: true, read_only: ["/opt/a b: #c"], read_write: [/tmp]}
        landlock: {compatibility: best_effort}
        process: {run_as_user: sandbox}
        network_policies:
          x.y:
            name: "a: # name"
            endpoints:
              - {host: a.example.com, port: 443, supervisor: {ech: refuse}}
              - {host: "*.b.example.com", ports: [1, 2], protocol: websocket, access: read-write}
              - {host: c.example.com, port: 1, protocol: graphql, access: full,
                 graphql_max_body_bytes: 5}
              - {host: d.example.com, port: 1, protocol: json-rpc,
                 rules: [{allow: {method: eth_call}}], json_rpc: {max_body_bytes: 7}}
              - {host: e.example.com, port: 1, protocol: sql, enforcement: audit,
                 rules: [{allow: {command: SELECT}}]}
              - {port: 9, allowed_ips: [10.0.0.0/16, "fd01::/48"]}
              - {host: f.example.com, port: 1, protocol: rest, access: full,
                 credential_binding: {provider: p}, allow_uninspected_credentials: true}
            binaries: [{path: "/opt/my tool", supervisor: {sha256: [%s]}}]
        network_middlewares:
          m: {middleware: m, on_error: fail_open, endpoints: {include: ["**"]},
              config: {n: 5, t: "5", b: true, l: [x]}}
        supervisor:
          require: {fence: pod, landlock_abi: 4, controls: [private-proc]}
          accept: [drift-detection, websocket]
          limits: {nofile: 64, fsize: 1, nproc: 9}
          loopback: []
          syscalls: {debugger: true}
          presets: [npm]
        """ % ("0" * 64))  # fmt: skip

    assert shown(policy) == without_short_forms(policy)


def test_each_part_names_the_line_it_comes_from():
    text = as_yaml(
        document_of(loaded("version: 1\nsupervisor: {presets: [pypi]}\n", file="p.yaml"))
    )

    assert "# from preset:pypi:" in text
