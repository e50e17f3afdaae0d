"""The sidecar pod as a whole: who reaches what, who is refused, and what the workload is left with."""

import json
import os
from pathlib import Path

import psutil
import pytest
from support.podman import podman
from support.records import events_of
from support.sandbox import ENTRYPOINT, events, fields_of, wait_for, wait_for_event
from support.sidecar_pod import (
    EGRESS,
    GID,
    NAME,
    OTHER,
    POLICY,
    PORT,
    PROXY_PORT,
    SHARED,
    UID,
    UNAWARE,
    sidecar_pod,
)

from supervisor.deploy.layout import SECRETS

GET = """get() { (exec 3<>/dev/tcp/$1/$2 && printf 'GET / HTTP/1.1\\r\\nHost: %s:%s\\r\\n\\r\\n' $1 $2 >&3 \
&& timeout 2 cat <&3) 2>/dev/null | tail -n1; }; """


def refusal(container) -> dict[str, object]:
    return next(record for record in events(container) if record["event"] == "start.refused")


@pytest.mark.parametrize("aware", [True, False], ids=["binary-aware", "unprivileged"])
def test_an_allowed_name_is_reached_through_egress_and_nothing_else_is(tmp_path, aware):
    with sidecar_pod(tmp_path, policy=POLICY if aware else UNAWARE) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar(privileged=aware)
        script = (
            f"cat /proc/self/status; {GET} echo allowed=$(get {NAME} {PORT}); "
            f"echo other=$(get {OTHER} {PORT}); echo address=$(get {pod.upstream.address} {PORT}); "
            f"(echo x > /dev/udp/{pod.upstream.address}/99) 2>/dev/null && echo LEAK; "
            f"ls {SHARED}/control; echo x > {SHARED}/x; exit 7"
        )
        agent = pod.agent("bash", "-c", script)

        assert agent.wait() == 7
        assert sidecar.wait() == 7
        printed = agent.logs().stdout
        fields = fields_of(printed)
        assert fields["Uid"] == "4242 4242 4242 4242"
        assert [fields[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [
            "0" * 16
        ] * 5
        assert fields["NoNewPrivs"] == "1"
        assert "allowed=upstream" in printed
        assert "upstream" not in printed.replace("allowed=upstream", "")
        assert "LEAK" not in printed
        assert len(pod.upstream.heard) == 1
        opened = wait_for_event(sidecar, "egress.opened")
        assert ("/usr/bin/bash" in opened["binaries"]) == aware
        started = wait_for_event(sidecar, "sidecar.started")
        absent = [item["control"] for item in started["report"]["absent"]]
        privileged = ["KILL", "SETGID", "SETPCAP", "SETUID", "SYS_PTRACE"]
        assert sorted(started["report"]["capabilities"]) == (privileged if aware else [])
        assert absent == (
            [] if aware else ["binary-identity", "blocked-attempts", "drift-detection"]
        )


def test_an_unprivileged_sidecar_refuses_a_policy_that_tells_programs_apart(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar(privileged=False)

        assert sidecar.wait() == 125
        assert refusal(sidecar)["code"] == "startup.control-required"


def test_without_net_init_nobody_starts(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        sidecar = pod.sidecar()
        assert sidecar.wait() == 125
        assert refusal(sidecar)["code"] in ("sidecar.shared-directory", "fence.not-installed")


def test_an_agent_container_with_any_privilege_is_refused_and_told_where_to_go(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        for role, user, caps, more in (
            ("root", "0:0", (), ()),
            ("capable", f"{UID}:{GID}", ("NET_RAW",), ()),
            ("other", "4243:4243", (), ()),
            ("groups", f"{UID}:{GID}", (), ("--group-add=27",)),
        ):
            agent = pod.agent(
                "true", role=role, user=user, caps=caps, options=more,
                arguments=("--sidecar-timeout=1",),
            )  # fmt: skip

            assert agent.wait() == 125, agent.logs()
            said = refusal(agent)
            if role in ("root", "capable"):
                assert said["code"] == "startup.mode-needs-unprivileged"
                assert "'sidecar'" in said["remedy"]
                assert "--mode full" in said["remedy"]


def test_an_agent_without_a_sidecar_waits_for_a_bounded_time_only(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        agent = pod.agent("true", arguments=("--sidecar-timeout=1",))

        assert agent.wait() == 125
        assert refusal(agent)["code"] == "sidecar.not-there"


def test_probes_run_our_own_binary_and_tell_a_sidecar_that_serves_from_one_that_hangs(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        wait_for_event(sidecar, "helper.ready", helper="egress")

        answer = sidecar.exec(
            ENTRYPOINT, "status", "--shared", SHARED, "--probe", "ready", "--json"
        )
        assert json.loads(answer.checked().stdout)["ready"] is True
        assert sidecar.exec(ENTRYPOINT, "status", "--probe", "live").returncode == 0
        # Without its sign the monitor of this container is asked; here there is none.
        assert pod.bare(f"{ENTRYPOINT} status --probe live").returncode == 1


def test_either_half_may_start_first(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        agent = pod.agent("true")
        sidecar = pod.sidecar()

        assert (agent.wait(), sidecar.wait()) == (0, 0)


def test_while_the_workload_runs_nobody_of_its_uid_finds_the_channel_or_takes_its_place(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        wait_for_event(sidecar, "sidecar.started")
        stranger = f"test -S {SHARED}/control/agent.sock && echo listening"
        assert pod.bare(stranger).stdout == "listening\n"
        agent = pod.agent("sh", "-c", "echo running; sleep 60")
        wait_for(agent, "running")

        tried = pod.bare(
            f"{stranger}; mkfifo {SHARED}/control/agent.sock; mv {SHARED}/control {SHARED}/c; "
            f"cat {SHARED}/control/session; "
            f"for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/environ; ls -l $p/fd; done 2>/dev/null"
        )
        assert "listening" not in tried.stdout
        assert pod.bare(f"ls {SHARED}/control").returncode != 0
        assert "Read-only" in tried.stderr or "denied" in tried.stderr
        assert podman("ps", "--filter", f"name={agent.name}", "--quiet").stdout


def test_a_changed_policy_reaches_egress_and_the_agents_half(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        script = GET + f"echo first; until get {OTHER} {PORT} | grep upstream; do sleep 0.2; done"
        agent = pod.agent("bash", "-c", script)
        wait_for(agent, "first")

        more = POLICY.replace(f"{{host: {NAME}", f"{{host: {OTHER}").replace("lab", "other")
        both = POLICY + more[more.index("  other:") :] + "filesystem_policy: {read_only: [/usr]}\n"
        (pod.policy.parent / "new").write_text(both)
        (pod.policy.parent / "new").rename(pod.policy)

        assert agent.wait() == 0
        assert sidecar.wait() == 0
        wait_for_event(agent, "policy.needs-restart")


def test_the_halves_of_a_pod_without_shared_processes_find_each_other_too(tmp_path):
    with sidecar_pod(tmp_path, share="net", policy=UNAWARE) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar(privileged=False)
        agent = pod.agent("bash", "-c", GET + f"get {NAME} {PORT}")

        assert (agent.wait(), sidecar.wait()) == (0, 0)
        assert agent.logs().stdout.strip() == "upstream"
        attached = wait_for_event(sidecar, "agent.attached")
        assert attached["pid"] == 0


def test_the_shared_directory_does_not_depend_on_who_made_it(tmp_path):
    """podman makes a volume root's 0755, Kubernetes 0777 or the fsGroup's 2775."""
    with sidecar_pod(tmp_path) as pod:
        shape = ("-c", f"chmod 2777 {SHARED}; chgrp {GID} {SHARED}; stat -c %a:%u:%g {SHARED}")
        before = pod.container(
            "shape", *shape, user="0:0", caps=("CHOWN", "FOWNER", "FSETID"),
            entrypoint="/bin/sh", detach=False, remove=True,
        )  # fmt: skip
        assert before.stdout == f"2777:0:{GID}\n"
        pod.net_init().checked()

        found = pod.bare(f"stat -c %a:%u:%g {SHARED} {SHARED}/control").stdout.split()
        assert found == ["755:0:0", f"711:{EGRESS}:{EGRESS}"]
        assert events_of(pod.net_init().checked().stderr)[-1]["event"] == "fence.installed"


def test_a_blocked_attempt_is_told_in_the_sidecar_and_each_half_answers_who_enters_it(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        script = "echo x > /dev/udp/203.0.113.77/443; echo sent; sleep 60"
        agent = pod.agent("bash", "-c", script)
        wait_for(agent, "sent")
        blocked = wait_for_event(sidecar, "attempt.blocked", host="203.0.113.77")
        assert blocked["code"] == "blocked.quic"
        assert blocked["actor"]["user"]["uid"] == str(UID)

        told = sidecar.exec(ENTRYPOINT, "events", "--denied", "--json").checked().stdout
        assert "203.0.113.77" in told
        status = json.loads(sidecar.exec(ENTRYPOINT, "status", "--json").checked().stdout)
        assert {one["name"]: one["state"] for one in status["helpers"]} == {
            "egress": "serving", "watcher": "serving",
        }  # fmt: skip
        report = json.loads(sidecar.exec(ENTRYPOINT, "report", "--json").checked().stdout)
        assert report["role"] == "sidecar"
        assert "rules, read back" in report["fence"]
        assert "203.0.113.77" not in sidecar.exec(ENTRYPOINT, "report").checked().stdout

        status = json.loads(agent.exec(ENTRYPOINT, "status", "--json").checked().stdout)
        assert [(one["name"], one["state"]) for one in status["helpers"]] == [
            ("sidecar", "serving")
        ]
        proved = agent.exec(ENTRYPOINT, "report", "--prove", "--json").checked()
        assert json.loads(proved.stdout)["proof"]["surprises"] == []


def proxy_secret(tmp_path):
    """As a pod with an fsGroup has it: the workload's group may read it, where it is mounted."""
    place = tmp_path / "secret"
    place.mkdir(mode=0o755)
    (place / "credentials").write_text("jo:hunter2")
    os.chown(place / "credentials", 0, GID)
    (place / "credentials").chmod(0o440)
    return place


def test_the_sidecar_is_what_stands_behind_a_corporate_proxy(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        through = f"--upstream-proxy=http://{pod.upstream.address}:{PROXY_PORT}"
        secret = proxy_secret(tmp_path)
        sidecar = pod.sidecar(
            through,
            f"--upstream-proxy-credentials={SECRETS}/corp/credentials",
            options=(f"--volume={secret}:{SECRETS}/corp:ro",),
        )
        asked = pod.upstream.start_proxy()
        agent = pod.agent("bash", "-c", GET + f"get {NAME} {PORT}; ls {SECRETS}")

        assert (agent.wait(), sidecar.wait()) == (2, 2)  # ls: there is no such directory
        assert agent.logs().stdout.strip() == "upstream"
        assert asked == [f"CONNECT {pod.upstream.address}:{PORT}"]
        assert wait_for_event(sidecar, "egress.upstream")["has_credentials"]
        assert "hunter2" not in agent.logs().output + sidecar.logs().output
        refused = pod.agent("true", role="told-too", arguments=(through,))
        assert refused.wait() == 125
        assert refusal(refused)["code"] == "upstream.sidecars"


def test_every_thread_of_both_halves_has_a_filter_and_only_the_monitor_a_privilege(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        agent = pod.agent("bash", "-c", "echo ready; sleep 300")
        wait_for(agent, "ready")
        for half in (sidecar, agent):
            half.exec(ENTRYPOINT, "report").checked()  # its answer: it is done with itself
            engines = fields_of(half.exec("cat", "/proc/self/status").stdout)["Seccomp_filters"]
            monitor = psutil.Process(half.host_pid())
            for process in (monitor, *monitor.children(recursive=True)):
                for thread in process.threads():
                    status = Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text()
                    fields = fields_of(status)
                    assert int(fields["Seccomp_filters"]) > int(engines), process
                    assert fields["NoNewPrivs"] == "1", process
                if process != monitor:
                    assert not set(fields["Uid"].split()) & {"0"}, process
                    sets = [fields[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
                    assert sets == ["0" * 16] * 5, process
