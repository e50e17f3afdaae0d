"""attacks.md L13: a kernel feature that is missing is refused, or told; never left out in silence.

The container's own filter takes the feature away, as an old kernel would: ENOSYS.
"""

import json

import pytest
from support.forms import POD, USER_NAMESPACE, owned_workspace
from support.records import events_of
from support.sandbox import refusal_of, sandboxed

ENOSYS = 38
PROFILE = "/usr/share/containers/seccomp.json"
ACCEPTING = "landlock: {compatibility: best_effort}\n"
REQUIRING = "supervisor: {require: {controls: [landlock-scopes]}}\n"


@pytest.fixture(params=[USER_NAMESPACE, POD], ids=lambda form: form.name)
def start(request, tmp_path):
    """Start with a policy's text, with or without Landlock in the kernel."""
    tmp_path.chmod(0o755)
    workspace, policy = tmp_path / "workspace", tmp_path / "policy"
    workspace.mkdir()
    policy.mkdir()
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(without_landlock()))

    def begin(text, *, landlock):
        (policy / "policy.yaml").write_text(f"version: 1\n{text}")
        taken = () if landlock else (f"--security-opt=seccomp={profile}",)
        return sandboxed(
            "id", "-u",
            identity=request.param.identity,
            arguments=(*request.param.arguments, "--policy=/policy/policy.yaml"),
            options=(
                *request.param.options, *taken, owned_workspace(workspace),
                f"--volume={policy}:/policy:ro",
            ),
        )  # fmt: skip

    return begin


def without_landlock():
    """podman's own profile, and Landlock answers as if the kernel did not know it."""
    with open(PROFILE) as file:
        profile = json.load(file)
    names = [name for rule in profile["syscalls"] for name in rule["names"] if "landlock" in name]
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name not in names]
    profile["syscalls"].append({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    return profile


def controls_of(done):
    events = events_of(done.stderr)
    report = next(one["report"] for one in events if one["event"] == "sandbox.started")
    return {control["name"]: control for control in report["controls"]}


def test_l13_without_landlock_nothing_starts_unless_the_policy_accepts_it(start):
    refused = start("", landlock=False)
    accepted = start(ACCEPTING, landlock=False)

    assert refused.returncode == 125
    assert refusal_of(refused)["code"] == "startup.landlock-missing"
    assert "landlock_create_ruleset: Function not implemented" in refusal_of(refused)["cause"]
    assert accepted.checked().stdout == "4242\n"
    told = controls_of(accepted)
    assert told["files"]["state"] == "degraded"
    assert "not confined at all" in told["files"]["mechanism"]
    assert told["landlock-scopes"]["state"] == "absent"


def test_l13_the_paired_start_has_the_feature_and_tells_so(start):
    told = controls_of(start("", landlock=True).checked())

    assert told["files"]["state"] == "enforced"
    assert "landlock-scopes" not in told


def test_l13_what_the_policy_requires_is_not_accepted_away(start):
    refused = start(ACCEPTING + REQUIRING, landlock=False)

    assert refused.returncode == 125
    assert refusal_of(refused)["code"] == "startup.control-required"
    assert "landlock-scopes" in refusal_of(refused)["cause"]
    start(ACCEPTING + REQUIRING, landlock=True).checked()
