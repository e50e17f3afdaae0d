"""The metrics socket of a running sandbox: for probes and scrapers, never for the workload."""

import contextlib
import os
import signal
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.acceptance import POLICY_FILE, write_policy
from support.forms import POD, UNPRIVILEGED, USER_NAMESPACE, owned_workspace
from support.processes import children_of_user
from support.sandbox import AS_4242, ENTRYPOINT, refusal_of, sandbox, sandboxed, wait_for
from support.sidecar_pod import sidecar_pod
from support.waiting import DEADLINE_S, until

POLICY = """\
version: 1
network_policies:
  lab:
    endpoints: [{host: allowed.example, port: 7}]
    binaries: [{path: /usr/bin/bash}]
"""
INSIDE = "/run/metrics/metrics.sock"
# One refused name, one refused datagram, then it tries the socket, and says what came of it.
WORKLOAD = f"""
exec 2>&1
(exec 3<>/dev/tcp/refused.example/443)
(echo x > /dev/udp/203.0.113.7/443)
id -u
ls -l {INSIDE}
python3 - <<'END' || true
import os, socket
for act in (
    lambda: socket.socket(socket.AF_UNIX).connect("{INSIDE}"),
    lambda: os.unlink("{INSIDE}"),
    lambda: os.rename("{INSIDE}", "{INSIDE}.away"),
    lambda: os.chmod("{INSIDE}", 0o777),
):
    try:
        act()
        print("SUCCEEDED")
    except OSError as error:
        print("refused", error.errno)
END
echo done
sleep 300
"""


def directory(tmp_path):
    made = tmp_path / "metrics"
    made.mkdir(mode=0o755)
    return made


def workspace(tmp_path):
    """podman's option for a work directory that is the workload's already."""
    made = tmp_path / "workspace"
    made.mkdir()
    return owned_workspace(made)


def ask(path, target):
    """Status and body, as any HTTP client on this machine sees them."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(DEADLINE_S)
        asking.connect(str(path))
        asking.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while block := asking.recv(1 << 16):
            answer += block
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def samples(path):
    return {
        f"{one.name}{one.labels or ''}": one.value
        for family in text_string_to_metric_families(ask(path, "/metrics")[1])
        for one in family.samples
    }


@pytest.mark.parametrize("form", [USER_NAMESPACE, POD], ids=lambda form: form.name)
def test_probes_and_scrapers_are_answered_and_the_workload_is_not(tmp_path, form):
    where = directory(tmp_path)
    path = where / "metrics.sock"
    options = (
        f"--volume={where}:/run/metrics",
        write_policy(tmp_path, POLICY),
        workspace(tmp_path),
        *form.options,
    )
    arguments = (f"--policy={POLICY_FILE}", f"--metrics-socket={INSIDE}", *form.arguments)
    with sandbox(
        "bash", "-c", WORKLOAD,
        arguments=arguments, options=options, image="localhost/sandbox-test/programs",
    ) as container:  # fmt: skip
        printed = wait_for(container, "done")
        assert "SUCCEEDED" not in printed
        assert printed.count("refused 1") == 4, printed  # EACCES, EPERM
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, 0)

        assert until(lambda: ask(path, "/readyz")[0] == 200)
        assert ask(path, "/healthz")[1].startswith("ok, without ")  # no container gives everything
        assert ask(path, "/")[0] == 404
        until(
            lambda: samples(path).get("sandbox_egress_denials_total{'code': 'egress.name-refused'}")
        )
        blocked = "sandbox_fence_blocked_attempts_total{'code': 'blocked.quic', 'protocol': 'udp'}"
        until(lambda: samples(path).get(blocked))
        found = samples(path)
        assert found["sandbox_egress_dns_answers_total{'answer': 'refused'}"] >= 1
        assert found["sandbox_ready"] == 1
        assert found["sandbox_process_resident_memory_bytes{'process': 'egress'}"] > 1 << 20
        ready = container.exec(ENTRYPOINT, "status", "--probe", "ready", "--json")
        assert ready.checked().stdout.startswith('{"live":true,"ready":true')


def test_an_egress_that_is_down_is_not_ready_and_its_old_numbers_are_gone(tmp_path):
    where = directory(tmp_path)
    path = where / "metrics.sock"
    options = (f"--volume={where}:/run/metrics", write_policy(tmp_path, POLICY))
    arguments = (f"--policy={POLICY_FILE}", f"--metrics-socket={INSIDE}")
    with sandbox("sleep", "300", arguments=arguments, options=options) as container:
        until(lambda: answers(path))
        until(lambda: "sandbox_egress_tunnels" in samples(path))

        def unready_when_killed():
            """It is away for 100 ms, and after each kill for twice as long: 8 end the sandbox."""
            (egress,) = until(lambda: children_of_user(container.host_pid(), 64998))
            os.kill(egress, signal.SIGKILL)
            answered = (ask(path, "/readyz") for _ in range(20))
            return next((body for status, body in answered if status != 200), None)

        assert until(unready_when_killed) in ("egress: down\n", "egress: starting\n")
        assert ask(path, "/healthz")[0] == 200
        until(lambda: ask(path, "/readyz")[0] == 200)
        found = samples(path)
        assert found["sandbox_helper_restarts_total{'helper': 'egress'}"] >= 1
        assert found["sandbox_helper_deaths_total{'helper': 'egress'}"] >= 1


def test_the_responder_holds_nothing_and_a_dead_one_is_replaced(tmp_path):
    where = directory(tmp_path)
    path = where / "metrics.sock"
    options = (f"--volume={where}:/run/metrics",)
    with sandbox(
        "sleep", "300", arguments=(f"--metrics-socket={INSIDE}",), options=options
    ) as container:
        until(lambda: answers(path))
        first = responder_of(container)
        with open(f"/proc/{first}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert [status[f"Cap{one}"] for one in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [
            "0" * 16
        ] * 5
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        os.kill(first, signal.SIGKILL)
        until(lambda: responder_of(container) not in (None, first))
        until(lambda: answers(path))
        assert samples(path)["sandbox_helper_restarts_total{'helper': 'responder'}"] == 1


def answers(path):
    with contextlib.suppress(OSError, IndexError):
        return ask(path, "/readyz")[0] == 200
    return False


def responder_of(container):
    """Of the helpers with this uid, the one without an NFLOG socket: it holds two pages."""
    for pid in children_of_user(container.host_pid(), 64999):
        with contextlib.suppress(OSError):
            names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            if sum("memfd:metrics" in name for name in names) == 2:
                return pid
    return None


@pytest.mark.parametrize(
    ("mode", "because"), [(0o777, "others can change it"), (0o1777, "others can change it")]
)
def test_a_directory_in_which_others_could_replace_the_socket_is_refused(tmp_path, mode, because):
    where = directory(tmp_path)
    where.chmod(mode)
    refused = sandboxed(
        "true",
        arguments=(f"--metrics-socket={INSIDE}",),
        options=(f"--volume={where}:/run/metrics",),
    )
    assert refused.returncode == 125
    assert refusal_of(refused)["code"] == "startup.metrics-socket"
    assert because in refusal_of(refused)["cause"]


def test_a_supervisor_with_the_workloads_uid_refuses_and_probes_ask_the_monitor(tmp_path):
    options = (*UNPRIVILEGED.options, workspace(tmp_path))
    refused = sandboxed(
        "true", identity=(), arguments=(f"--metrics-socket={INSIDE}",), options=options
    )
    assert refusal_of(refused)["code"] == "startup.metrics-socket"

    half = sandboxed(
        "true",
        identity=(),
        arguments=("--mode=network-only", f"--metrics-socket={INSIDE}"),
        options=options,
    )
    assert refusal_of(half)["code"] == "startup.metrics-socket"

    with sandbox("sh", "-c", "echo on; sleep 300", identity=(), options=options) as container:
        wait_for(container, "on")
        probe = container.exec(ENTRYPOINT, "status", "--probe", "ready")
        assert probe.checked().stdout == "ready: yes\n"


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    where = directory(tmp_path)
    options = (f"--volume={where}:/run/metrics",)
    arguments = (f"--metrics-socket={INSIDE}",)
    sandboxed("true", arguments=arguments, options=options, identity=AS_4242).checked()
    assert (where / "metrics.sock").exists()
    with sandbox("sleep", "300", arguments=arguments, options=options):
        until(lambda: answers(where / "metrics.sock"))
        second = sandboxed("true", arguments=arguments, options=options)
        assert "somebody listens" in refusal_of(second)["cause"]


def test_the_sidecar_serves_them_too(tmp_path):
    where = directory(tmp_path)
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        pod.sidecar(f"--metrics-socket={INSIDE}", options=(f"--volume={where}:/run/metrics",))
        path = where / "metrics.sock"
        until(lambda: answers(path))
        assert samples(path)["sandbox_helper_up{'helper': 'egress'}"] == 1
