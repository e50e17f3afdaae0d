"""attacks.md A, B, C, D: each attack as the workload, in each form, with its paired allowed case."""

import functools
import json
from pathlib import Path

import psutil
import pytest
from support.attack_forms import COMBINED, NAMES, forms
from support.attacks import Outcomes, attack, rows
from support.sandbox import AS_4242, ENTRYPOINT, fields_of, refusal_of, sandbox, sandboxed, wait_for

ROWS = rows()
# A closed network is attacked here. In a sidecar pod TCP and names go to egress, which is attacked
# in test_network_rows.
CASES = [
    (row, form) for row in ROWS for form in NAMES if not (form == "sidecar" and row.startswith("E"))
]


@pytest.fixture(scope="module")
def outcomes():
    """Outcomes by form; each form's container runs the whole list once."""
    with forms() as known:
        yield functools.cache(lambda name: attack(known[name]))


@pytest.mark.parametrize(("row", "form"), CASES)
def test_the_attack_does_not_get_through(row, form, outcomes):
    found: Outcomes = outcomes(form)

    assert found[row]["held"] == "ok"


@pytest.mark.parametrize(("row", "form"), CASES)
def test_the_allowed_act_beside_it_works(row, form, outcomes):
    found: Outcomes = outcomes(form)

    assert found[row]["paired"] == "ok"


def test_every_thread_of_the_supervisor_has_a_filter():
    """Row C17, on the supervisor itself."""
    with sandbox(
        "sh", "-c", "echo ready; sleep 300", options=("--cap-add=SYS_ADMIN,NET_ADMIN",)
    ) as one:
        wait_for(one, "ready")
        one.exec(ENTRYPOINT, "report").checked()  # its answer: the monitor is done with itself
        engines = fields_of(one.exec("cat", "/proc/self/status").stdout)["Seccomp_filters"]
        monitor = psutil.Process(one.host_pid())
        for process in (monitor, *monitor.children(recursive=True)):
            for thread in process.threads():
                fields = fields_of(Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text())
                assert int(fields["Seccomp_filters"]) > int(engines), process
                assert fields["NoNewPrivs"] == "1", process


def test_a_uid_of_a_helper_is_refused():
    """Row A9: what the fence exempts must never be the workload."""
    result = sandboxed("id", identity=("--uid=64998", "--gid=64998"))

    assert result.returncode == 125
    assert refusal_of(result)["code"].startswith("identity.")


@pytest.mark.parametrize("form", COMBINED)
def test_the_proof_can_be_made_again_while_the_workload_runs(form):
    with forms() as known:
        chosen = known[form]
        with sandbox(
            "sh", "-c", "echo ready; sleep 300",
            options=chosen.options,
            arguments=chosen.arguments,
            identity=chosen.identity,
        ) as container:  # fmt: skip
            wait_for(container, "ready")
            again = container.exec(ENTRYPOINT, "report", "--prove")
            stranger = container.exec(ENTRYPOINT, "report", user="99:99")
            checked = container.exec(ENTRYPOINT, "doctor", "--in-sandbox")

    assert "no surprise" in again.checked().stdout
    assert checked.returncode == 0
    assert stranger.returncode == 1


def test_where_everybody_may_ping_the_proof_pings_and_the_fence_sees_it():
    """In the form that shares the container's network; its child inherits the monitor's filter."""
    with sandbox(
        "sh", "-c", "echo ready; sleep 300",
        options=("--cap-add=NET_ADMIN", "--sysctl=net.ipv4.ping_group_range=0 2147483647"),
        arguments=("--fence=pod",),
    ) as container:  # fmt: skip
        wait_for(container, "ready")
        again = container.exec(ENTRYPOINT, "report", "--prove", "--json").checked()

    proof = json.loads(again.stdout)["proof"]
    assert "ping past the filter to 203.0.113.7" in proof["probes"]["network"]
    assert proof["surprises"] == []


@pytest.mark.parametrize(
    "control", ["pid-namespace", "private-proc", "private-shm", "landlock-scopes"]
)
def test_what_a_form_cannot_give_is_reported_and_refused_when_required(control, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"version: 1\nsupervisor:\n  require:\n    controls: [{control}]\n")
    tmp_path.chmod(0o755)
    policy.chmod(0o644)
    mounted = f"--volume={policy}:/run/policy.yaml:ro"
    with forms() as known:
        strong = sandboxed(
            "true", arguments=("--policy=/run/policy.yaml",),
            options=(*known["sys-admin"].options, mounted),
        )  # fmt: skip
        weak = sandboxed(
            "true", arguments=("--policy=/run/policy.yaml",),
            options=(*known["limited"].options, mounted), identity=AS_4242,
        )  # fmt: skip

    strong.checked()
    if control in ("pid-namespace", "private-proc"):
        assert (weak.returncode, refusal_of(weak)["code"]) == (125, "startup.control-required")
        assert control in refusal_of(weak)["cause"]
    else:
        weak.checked()
