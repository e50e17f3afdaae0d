"""``run`` as the entrypoint of real containers: who the workload is, and what it is left with."""

import json
import os

import jsonschema
import pytest
from support.records import events_of
from support.sandbox import DEBIAN, IDENTITY, RUNTIME, fields_of, refusal_of, sandboxed

from images.runtime import manifest

LIMITED = ("--cap-drop=ALL", "--cap-add=NET_ADMIN,SETUID,SETGID,SETPCAP,KILL,SYS_PTRACE")
FORMS = {
    "default capabilities": (),
    "SYS_ADMIN and NET_ADMIN": ("--cap-add=SYS_ADMIN,NET_ADMIN",),
    "six capabilities and an own workspace": (*LIMITED, "--volume={owned}:/sandbox"),
    "no network": ("--network=none",),
    "read-only root": ("--read-only", "--tmpfs=/sandbox"),
    "an inherited group": ("--group-add=27",),
}
STATUS = "cat /proc/self/status; ls /proc/self/fd; tail -n +3 /proc/net/dev"


def report_in(result):
    events = events_of(result.checked().stderr)
    return next(event["report"] for event in events if event["event"] == "sandbox.started")


@pytest.mark.parametrize("form", FORMS)
def test_the_workload_is_left_with_nothing_but_its_identity(form, tmp_path):
    os.chown(tmp_path, 4242, 4242)
    tmp_path.chmod(0o755)  # root without DAC_OVERRIDE has to get in
    options = [option.format(owned=tmp_path) for option in FORMS[form]]

    result = sandboxed("sh", "-c", STATUS, options=options).checked()
    fields = fields_of(result.stdout)

    assert fields["Uid"] == fields["Gid"] == "4242 4242 4242 4242"
    assert fields["Groups"] == ""
    assert [fields[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == ["0" * 16] * 5
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]  # 3: ls reading
    interfaces = [
        line.split(":")[0].strip() for line in lines if line.endswith(" 0") and ":" in line
    ]
    assert interfaces == ["lo"]


def test_an_unprivileged_container_needs_no_capability():
    """Row of the issue: uid 4242 without any capability, in its own user namespace."""
    result = sandboxed(
        "sh", "-c", STATUS,
        identity=(),
        options=(
            "--user=4242:4242", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only",
            "--volume=/sandbox", "--mount=type=tmpfs,destination=/work,chown",
        ),
        arguments=("--workdir=/work",),
    ).checked()  # fmt: skip
    fields = fields_of(result.stdout)

    assert fields["Uid"] == "4242 4242 4242 4242"
    assert fields["CapBnd"] == fields["CapEff"] == "0" * 16


def test_declared_groups_are_exactly_what_the_workload_has():
    result = sandboxed(
        "cat", "/proc/self/status", arguments=("--groups=3000,2000",), options=("--group-add=27",)
    )

    assert fields_of(result.checked().stdout)["Groups"] == "2000 3000"


@pytest.mark.parametrize(
    "uid", ["0", "00", "+0", " 0", "-1", "4294967295", "4294967296", "1e3", "٣", "1000:0", "01000"]
)
def test_a_uid_that_is_not_one_canonical_number_above_zero_stops_the_start(uid):
    """attacks.md A1, against a real container."""
    result = sandboxed("id", identity=(), environment={"SANDBOX_UID": uid, "SANDBOX_GID": "4242"})

    assert result.returncode == 125
    assert refusal_of(result)["code"].startswith("identity.")
    assert "uid=" not in result.stdout


def test_a_name_that_means_root_stops_the_start():
    result = sandboxed("id", identity=("--uid=root", "--gid=4242"))

    assert (result.returncode, refusal_of(result)["code"]) == (125, "identity.root")


def test_the_images_own_variables_cannot_choose_policy_or_mode():
    """attacks.md L15: what an image can bake never weakens the sandbox."""
    baked = {"SANDBOX_POLICY": "/evil.yaml", "OPENSHELL_SUPERVISOR_TOPOLOGY": "sidecar"}

    result = sandboxed("env", environment=baked).checked()

    assert not [name for name in baked if name in result.stdout]


def test_setuid_programs_of_the_image_gain_nothing():
    """attacks.md A6, paired: the same program runs, as nobody else than before."""
    script = "cp /usr/bin/id . && chmod u+s id && ./id -u; ls -l /usr/bin/passwd; passwd -d root"

    result = sandboxed("sh", "-c", script)

    assert result.stdout.splitlines()[0] == "4242"
    assert "rws" in result.stdout.splitlines()[1]
    assert result.returncode != 0


def test_a_user_namespace_that_is_forbidden_is_a_refusal_with_a_remedy(pytestconfig):
    profile = pytestconfig.rootpath / "tests/container/docker-like-seccomp.json"

    result = sandboxed("id", options=(f"--security-opt=seccomp={profile}",))

    refusal = refusal_of(result)
    assert result.returncode == 125
    assert refusal["code"].startswith("fence.")
    assert "SYS_ADMIN" in refusal["remedy"] or "seccomp" in refusal["remedy"]


def test_network_none_counts_as_fenced_where_no_namespace_can_be_made(pytestconfig):
    profile = pytestconfig.rootpath / "tests/container/docker-like-seccomp.json"

    result = sandboxed("id", "-u", options=(f"--security-opt=seccomp={profile}", "--network=none"))

    assert result.checked().stdout == "4242\n"


def test_without_an_identity_nothing_is_started():
    result = sandboxed("id", identity=())

    assert (result.returncode, refusal_of(result)["code"]) == (125, "identity.none-given")


def test_an_image_without_account_files_is_enough():
    result = sandboxed("/hello", image="localhost/sandbox-test/scratch")

    assert result.checked().stdout


def test_the_report_names_every_control():
    result = sandboxed("true").checked()
    events = events_of(result.stderr)
    report = report_in(result)

    schema = json.loads(
        sandboxed(verb="report", identity=(), arguments=("--schema",), log=False).stdout
    )
    states = {control["name"]: control["state"] for control in report["controls"]}
    wanted = ("privileges", "network", "files", "system calls", "processes", "limits")
    assert {name: states[name] for name in wanted} == dict.fromkeys(wanted, "enforced")
    jsonschema.validate(report, schema)
    assert report["proof"]["surprises"] == []
    assert report["runtime"]["sha256"] == manifest.digest(RUNTIME)
    assert all(control["probes"] for control in report["controls"] if control["name"] in wanted)
    assert report["identity"]["uid"] == IDENTITY
    assert events[-1]["event"] == "sandbox.ended"


def test_plan_and_doctor_change_nothing_and_answer_in_json():
    planned = sandboxed("id", verb="plan", arguments=("--json",), log=False).checked()
    doctor = sandboxed(verb="doctor", identity=(), arguments=("--json",), log=False)

    steps = [step["step"] for step in json.loads(planned.stdout)["steps"]]
    assert steps[0] == "AddAccount"
    assert steps[-1] == "StartWorkload"
    found = {check["name"]: check["found"] for check in json.loads(doctor.stdout)}
    assert found["closed network"] == found["landlock"] == found["main process"] == "found"


def test_doctor_finds_the_form_that_run_would_choose_without_namespaces(pytestconfig):
    profile = pytestconfig.rootpath / "tests/container/docker-like-seccomp.json"
    limited = (f"--security-opt=seccomp={profile}", *LIMITED, "--cap-add=CHOWN")

    doctor = sandboxed(
        verb="doctor", identity=(), arguments=("--json",), options=limited, log=False
    )

    (fence,) = (it for it in json.loads(doctor.checked().stdout) if it["name"] == "closed network")
    assert fence["found"] == "found"
    assert fence["detail"].startswith("form pod; no own namespace: ")


def test_a_policy_of_the_image_is_not_trusted_unless_argv_says_so(tmp_path):
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    mounted = sandboxed(
        "id", "-u", arguments=("--policy=/policy/policy.yaml",),
        options=(f"--volume={tmp_path}:/policy:ro",),
    )  # fmt: skip
    of_image = sandboxed("id", arguments=("--policy=/etc/hostname",), image=DEBIAN)
    missing = sandboxed("id", arguments=("--policy=/nowhere.yaml",))

    assert mounted.checked().stdout == "4242\n"
    assert refusal_of(missing)["code"] == "policy.missing"
    assert of_image.returncode == 125


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
def test_a_tree_that_others_cannot_enter_is_named_as_the_reason(tmp_path, mode):
    """The unprivileged child that reads the policy is another user; so is the workload."""
    policy, above = tmp_path / "policy", tmp_path / "opt"
    policy.mkdir()
    above.mkdir()
    (policy / "policy.yaml").write_text("version: 1\n")
    above.chmod(mode)
    done = sandboxed(
        "true",
        arguments=("--policy=/policy/policy.yaml",),
        options=(f"--volume={policy}:/policy:ro", f"--volume={above}:/opt"),
    )

    if mode == 0o755:
        done.checked()
    else:
        refusal = refusal_of(done)
        assert (done.returncode, refusal["code"]) == (125, "policy.tree-unreadable")
        assert "/opt has mode 700" in refusal["cause"]


def test_a_weaker_fence_than_the_policy_requires_is_refused_before_anything_is_changed(tmp_path):
    text = "version: 1\nsupervisor: {require: {fence: namespace}}\n"
    (tmp_path / "policy.yaml").write_text(text)
    tmp_path.chmod(0o755)
    given = ("--policy=/policy/policy.yaml",)
    mounted = (f"--volume={tmp_path}:/policy:ro", "--cap-add=NET_ADMIN")

    weak = sandboxed("true", arguments=(*given, "--fence=pod"), options=mounted)

    assert (weak.returncode, refusal_of(weak)["code"]) == (125, "startup.fence-form")
    sandboxed("true", arguments=given, options=mounted).checked()


def test_the_report_names_what_the_container_gave_the_limits_and_the_links(tmp_path):
    text = "version: 1\nsupervisor: {limits: {nofile: 512}}\n"
    (tmp_path / "policy.yaml").write_text(text)
    tmp_path.chmod(0o755)
    result = sandboxed(
        "sh", "-c", "ulimit -Hn", arguments=("--policy=/policy/policy.yaml",),
        options=(f"--volume={tmp_path}:/policy:ro", "--pids-limit=777", "--memory=300m"),
    )  # fmt: skip
    report = report_in(result)

    limits = next(one for one in report["controls"] if one["name"] == "limits")
    assert result.stdout == "512\n"
    assert limits["mechanism"] == (
        f"rlimits core 0, nofile 512; of the container: pids.max 777, memory.max {300 << 20}"
    )
    assert report["proof"]["probes"]["limits"] == ["limit core", "limit nofile", "raise nofile"]
    assert report["container"]["surroundings"] == ["podman"]
    assert "SETUID" in report["container"]["capabilities"]
    (merged,) = (one for one in report["paths"] if one["path"] == "/bin")
    assert (merged["at"], merged["links"]) == ("/usr/bin", [["/bin", "usr/bin"]])
