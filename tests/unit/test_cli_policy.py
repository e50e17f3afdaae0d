"""The laboratory's commands: exit status, JSON, and text that a person can act on."""

import json
import os

import pytest

from supervisor.cli.main import main

POLICY = """\
version: 1
network_policies:
  api:
    endpoints:
      - {host: api.example.com, port: 80, protocol: rest, access: read-only}
    binaries: [{path: /usr/bin/curl}]
"""
ASK = ("--host", "api.example.com", "--port", "80", "--binary", "/usr/bin/curl")


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nnetwork_policies: {a: {endpoints: [{host: '*', prt: 1}]}}\n")
    return str(path)


def as_json(capsys, *argv):
    status = main(["policy", *argv, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_check_of_a_sound_policy_exits_0(policy, capsys):
    assert as_json(capsys, "check", policy) == (
        0,
        {"files": [{"file": policy, "ok": True, "findings": []}]},
    )


def test_check_reports_every_finding_of_every_file_and_exits_1(policy, bad, capsys):
    status, told = as_json(capsys, "check", policy, bad)

    assert status == 1
    codes = {finding["code"] for finding in told["files"][1]["findings"]}
    assert {"policy.unknown-key", "policy.no-destination", "policy.rule-never-matches"} < codes
    assert all(
        finding["line"] == 2 and finding["remedy"] for finding in told["files"][1]["findings"]
    )


def test_check_tells_what_is_accepted_from_what_is_not(tmp_path, capsys):
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.replace("port: 80", "port: 443"))
    status, told = as_json(capsys, "check", str(path))
    path.write_text(path.read_text() + "supervisor: {accept: [request-rules]}\n")
    accepting = as_json(capsys, "check", str(path))

    assert (status, told["files"][0]["findings"][0]["accepted"]) == (1, False)
    assert (accepting[0], accepting[1]["files"][0]["findings"][0]["accepted"]) == (0, True)


def test_check_in_words_names_place_and_remedy(bad, capsys):
    assert main(["policy", "check", bad]) == 1

    text = capsys.readouterr().out
    assert f"{bad}:2:" in text
    assert "remedy: Known here: host, port" in text
    assert text.splitlines()[-1].startswith(f"{bad}: refused, ")


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "device"])
def test_a_file_that_cannot_be_read_is_wrong_usage_and_never_hangs(kind, tmp_path, capsys):
    path = {"missing": tmp_path / "none", "directory": tmp_path, "fifo": tmp_path / "fifo"}.get(
        kind, "/dev/zero"
    )
    if kind == "fifo":
        os.mkfifo(path)

    status, told = as_json(capsys, "check", str(path))

    assert (status, told["error"]["code"]) == (2, "cli.file-unreadable")


def test_explain_of_what_is_allowed_exits_0_and_names_the_rule(policy, capsys):
    status, told = as_json(capsys, "explain", policy, *ASK, "--method", "GET", "--path", "/x")

    assert (status, told["verdict"], told["suggestion"]) == (0, "allow", None)
    assert (told["rule"]["file"], told["rule"]["line"]) == (policy, 5)


def test_explain_of_what_is_denied_exits_1_and_says_what_would_have_to_change(policy, capsys):
    request = ("--method", "PUT", "--path", "/x", "--query", "a=b c", "--query", "d=e")

    status, told = as_json(capsys, "explain", policy, *ASK, *request)

    assert (status, told["verdict"], told["code"]) == (1, "deny", "policy.request-not-allowed")
    assert {"allow": {"method": "PUT", "path": "/x", "query": {"a": "b c", "d": "e"}}} in told[
        "suggestion"
    ]["value"]["rules"]


def test_explain_in_words(policy, capsys):
    assert main(["policy", "explain", policy, *ASK[:4], "--binary", "/usr/bin/wget"]) == 1

    text = capsys.readouterr().out
    assert text.startswith("deny: ")
    assert "policy.binary-not-allowed" in text
    assert "change: Add /usr/bin/wget to the binaries of api." in text


def test_explain_judges_the_addresses_that_it_is_given(policy, capsys):
    allowed = as_json(capsys, "explain", policy, *ASK, "--resolves", "10.0.0.1")
    refused = as_json(
        capsys,
        "explain",
        policy,
        *ASK,
        "--resolves",
        "10.0.0.1",
        "--resolves",
        "::ffff:169.254.169.254",
    )

    assert (allowed[0], allowed[1]["verdict"]) == (0, "allow")
    assert (refused[0], refused[1]["code"]) == (1, "policy.address-metadata")


@pytest.mark.parametrize(
    "arguments", [("--method", "GET"), ("--path", "/x"), ("--query", "a=b"), ("--resolves", "x")]
)
def test_explain_with_half_a_request_is_wrong_usage(policy, arguments, capsys):
    status, told = as_json(capsys, "explain", policy, *ASK, *arguments)

    assert (status, told["error"]["code"]) == (2, "cli.arguments")


@pytest.mark.parametrize("command", [("explain", *ASK), ("show",), ("diff",)])
def test_a_bad_policy_is_unusable_and_its_first_error_is_named(command, bad, policy, capsys):
    more = (policy,) if command[0] == "diff" else ()

    status, told = as_json(capsys, command[0], bad, *more, *command[1:])

    assert (status, told["error"]["code"]) == (2, "cli.policy-refused")
    assert f"{bad}:2:" in told["error"]["cause"]


def test_the_tests_beside_a_policy_are_run(policy, tmp_path, capsys):
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        "version: 1\npolicy: policy.yaml\nbinary: /usr/bin/curl\ntests:\n"
        "  - allow: GET http://api.example.com/x\n"
        "  - {name: wrongly expected, deny: GET http://api.example.com/x}\n"
    )

    assert main(["policy", "test", str(tests)]) == 1
    text = capsys.readouterr().out
    assert f"{tests}:6: wrongly expected: FAILED" in text
    assert "expected: deny" in text
    assert "got:      allow [policy.request-allowed]" in text
    assert text.endswith("1 of 2 expectations hold\n")

    status, told = as_json(capsys, "test", str(tests))
    assert (status, told["passed"], [it["passed"] for it in told["tests"]]) == (1, 1, [True, False])


def test_tests_of_a_policy_that_is_not_there_are_unusable(tmp_path, capsys):
    tests = tmp_path / "tests.yaml"
    tests.write_text("version: 1\npolicy: none.yaml\ntests: [{allow: CONNECT a.example:1}]\n")

    status, told = as_json(capsys, "test", str(tests))

    assert (status, told["error"]["code"]) == (2, "cli.file-unreadable")


def test_diff_exits_0_without_and_1_with_a_difference(policy, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("port: 80", "port: 8080"))

    assert main(["policy", "diff", policy, policy]) == 0
    assert capsys.readouterr().out == "no difference in effect\n"

    status, told = as_json(capsys, "diff", policy, str(other))
    assert status == 1
    assert "GET api.example.com:8080/**" in {it["what"] for it in told["allowed"]}
    assert "GET api.example.com:80/**" in {it["what"] for it in told["denied"]}


def test_show_prints_a_policy_that_loads_again(policy, tmp_path, capsys):
    assert main(["policy", "show", policy]) == 0

    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    assert main(["policy", "diff", policy, str(again)]) == 0
    capsys.readouterr()
    assert as_json(capsys, "show", policy)[1]["network_policies"]["api"]["binaries"] == [
        {"path": "/usr/bin/curl"}
    ]


def test_schema_prints_the_schema(capsys):
    status, told = as_json(capsys, "schema")

    assert status == 0
    assert "network_policies" in told["properties"]


@pytest.mark.parametrize("argv", [["policy"], ["policy", "nonsense"], ["policy", "check"]])
def test_wrong_usage_exits_2(argv):
    with pytest.raises(SystemExit) as stopped:
        main(argv)

    assert stopped.value.code == 2
