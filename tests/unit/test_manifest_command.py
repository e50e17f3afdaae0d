"""``manifest`` on the command line, and the example pods."""

import json

import pytest
import yaml

from images.pods import examples
from policy.builtin import closed_policy
from policy.load import load
from supervisor.cli.main import main
from supervisor.cli.manifest import CLOSED
from supervisor.identity.openshift import UID_RANGE

NEEDED = ("--image", "localhost/a", "--supervisor-image", "localhost/s")


def manifest(capsys, *words, kind="pod", command=("--", "/bin/true")):
    status = main(["manifest", kind, *NEEDED, *words, *command])
    seen = capsys.readouterr()
    return status, seen.out, seen.err


@pytest.mark.parametrize("name", examples.EXAMPLES)
def test_an_example_is_what_the_command_writes_today(name):
    assert (examples.HERE / name).read_text() == examples.text(name), (
        "run python -m images.pods.examples"
    )


def test_every_example_of_the_directory_is_one_that_is_written():
    assert {path.name for path in examples.HERE.glob("*.yaml")} == set(examples.EXAMPLES)


def test_yaml_and_json_say_the_same(capsys):
    _, text, _ = manifest(capsys)
    _, as_json, _ = manifest(capsys, "--json")

    whole = json.loads(as_json)
    assert whole["kind"] == "List"
    assert list(yaml.safe_load_all(text)) == whole["items"]


def test_standard_error_says_who_the_workload_is_and_what_is_needed(capsys):
    status, _, notes = manifest(capsys, "--topology", "sidecar", "--native-sidecar")

    assert status == 0
    assert "1000:1000" in notes
    assert "Kubernetes 1.29" in notes
    assert "not for podman" in notes


def test_explain_prints_that_and_no_manifest(capsys):
    _, text, _ = manifest(capsys, "--explain", "--json")
    explained = json.loads(text)

    assert explained["kubernetes"] == "1.25"
    assert explained["identity"]["uid"] == 1000
    assert explained["podman"]["impossible"] == []


def test_the_namespace_decides_the_ids_and_a_bad_annotation_ends_it(capsys, tmp_path):
    namespace = tmp_path / "namespace.json"
    namespace.write_text(json.dumps({"metadata": {"annotations": {UID_RANGE: "1000650000/10000"}}}))
    status, text, notes = manifest(capsys, "--namespace-annotations", str(namespace))

    assert status == 0
    assert '"1000650000"' in text
    assert UID_RANGE in notes
    namespace.write_text(json.dumps({UID_RANGE: "0/10"}))
    status, text, notes = manifest(capsys, "--namespace-annotations", str(namespace))
    assert (status, text) == (1, "")
    assert "identity.bad-range" in notes


def test_without_a_policy_the_built_in_closed_one_is_written_out():
    loaded, built_in = load(CLOSED.encode(), file="CLOSED"), closed_policy()
    paths = [
        [entry.path for entry in policy.filesystem.read_write] for policy in (loaded, built_in)
    ]

    assert paths[0] == paths[1]
    assert loaded.filesystem.include_workdir == built_in.filesystem.include_workdir
    assert loaded.landlock == built_in.landlock
    assert loaded.network_policies == built_in.network_policies == ()
    assert loaded.findings == ()


def test_a_policy_with_findings_is_not_put_into_a_pod(capsys, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nnonsense: true\n")
    status, text, notes = manifest(capsys, "--policy", str(policy))

    assert (status, text) == (1, "")
    assert "deploy.bad-policy" in notes


def test_a_policy_arrives_as_it_was_written(capsys, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("# mine\nversion: 1\n")
    _, text, _ = manifest(capsys, "--policy", str(policy))

    assert next(yaml.safe_load_all(text))["data"] == {"policy.yaml": "# mine\nversion: 1\n"}


def test_a_writable_directory_that_the_policy_does_not_open_is_pointed_out(capsys, tmp_path):
    _, _, notes = manifest(capsys, "--writable", "/home/agent")
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nfilesystem_policy: {read_write: [/home/agent]}\n")
    _, _, silent = manifest(capsys, "--writable", "/home/agent", "--policy", str(policy))

    assert "/home/agent" in notes
    assert "/home/agent" not in silent


@pytest.mark.parametrize(
    ("topology", "serving", "other"),
    [("combined", "agent", "volumes-init"), ("sidecar", "sidecar", "agent")],
)
def test_what_lies_upstream_is_said_to_the_container_of_egress_alone(
    capsys, topology, serving, other
):
    words = ("--upstream-proxy", "http://proxy.corp:3128", "--no-proxy", ".corp", "--json")
    status, text, notes = manifest(capsys, "--topology", topology, *words)
    assert status == 0, notes
    spec = next(item for item in json.loads(text)["items"] if item["kind"] == "Pod")["spec"]
    said = {one["name"]: one["command"] for one in spec["initContainers"] + spec["containers"]}

    place = said[serving].index("--upstream-proxy")
    assert said[serving][place:][:4] == [*words[:4]]
    assert "--upstream-proxy" not in said[other]


@pytest.mark.parametrize(
    "words",
    [
        ("--policy", "/nowhere/policy.yaml"),
        ("--namespace-annotations", "/nowhere"),
        ("--env", "NAME"),
        ("--workspace-claim", "a", "--workspace-size", "1Gi"),
        ("--storage-class", "fast"),
        ("--secret", "a"),
        ("--native-sidecar",),
        ("--upstream-proxy", "https://proxy.corp:3128"),
        ("--no-proxy", ".corp"),
        ("--uid", "0"),
        ("--uid", "64998"),
        ("--policy", "-", "--namespace-annotations", "-"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_printed(capsys, words):
    status, text, notes = manifest(capsys, *words)

    assert (status, text) == (1, "")
    assert "refused" in notes


def test_a_restart_policy_that_makes_podman_run_in_circles_cannot_be_chosen(capsys):
    with pytest.raises(SystemExit) as ended:
        manifest(capsys, "--restart", "Always")

    assert ended.value.code == 2


PROXY = ("--topology", "sidecar", "--upstream-proxy", "http://proxy.corp:3128")


@pytest.mark.parametrize(("given", "path"), [("corp", "corp/credentials"), ("corp/a", "corp/a")])
def test_the_proxys_credentials_are_named_by_secret_and_key(capsys, given, path):
    _, text, _ = manifest(capsys, *PROXY, "--upstream-proxy-secret", given)

    assert f"/run/sandbox-secrets/{path}" in text


def test_credentials_without_a_proxy_are_refused(capsys):
    status, out, said = manifest(capsys, "--upstream-proxy-secret", "corp")

    assert (status, out) == (1, "")
    assert "deploy.conflict" in said
