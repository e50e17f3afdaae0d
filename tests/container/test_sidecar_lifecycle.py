"""Beginnings and ends of a sidecar pod beside test_sidecar_kills: who is told, who comes back.

state                    what happens      agent            sidecar
agent awaited            sidecar TERM      -                0
workload runs            agent TERM        143              143
workload runs            sidecar TERM      its own          the same
loss: wait               sidecar KILL      waits offline    restarted: taken back
loss: wait, port taken   sidecar KILL      137              restarted: 125 sidecar.workload-holds-port
workload runs            agent KILL        -                waits for a new one, takes it
the same, unseen         agent KILL        -                125 sidecar.agent-lost
workload runs            fence (by root)   goes on          goes on: the table is owned
"""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from support.acceptance import PROGRAMS
from support.podman import podman
from support.sandbox import events, wait_for, wait_for_event
from support.sidecar_pod import (
    NAME,
    PORT,
    SHARED,
    UNAWARE,
    sidecar_pod,
)
from support.waiting import until

from supervisor.fence.request import CAPTURE_PORT

# Says once a turn whether the allowed name is reached; a datagram that gets out is a leak.
TRY = f"""try() {{ if (exec 3<>/dev/tcp/{NAME}/{PORT} && printf 'GET / HTTP/1.1\\r\\nHost: {NAME}:{PORT}\\r\\n\\r\\n' >&3 \
&& timeout 2 cat <&3) 2>/dev/null | grep -q upstream; then echo online; else echo offline; fi; \
(echo x > /dev/udp/203.0.113.5/99) 2>/dev/null && echo LEAK; true; }}; """
# Binds egress' port as soon as the sidecar is gone; who dials anything is then its own guest.
TAKE_PORT = f"""
import socket, time
print("waiting", flush=True)
while True:
    try:
        listener = socket.create_server(("127.0.0.1", {CAPTURE_PORT}))
        break
    except OSError:
        time.sleep(0.05)
socket.create_connection(("203.0.113.7", 443)).sendall(b"hello")
assert listener.accept()[0].recv(10) == b"hello"
print("taken", flush=True)
time.sleep(600)
""".replace("'", '"')
FOR_EVER = TRY + "while :; do try; sleep 0.2; done"


def cause(container) -> str | None:
    ends = ("sandbox.ended", "sidecar.ended", "start.refused")
    return next(record.get("code") for record in events(container) if record["event"] in ends)


def running_pod(pod, *, arguments=(), privileged=True, script=FOR_EVER):
    pod.net_init().checked()
    sidecar = pod.sidecar(privileged=privileged)
    agent = pod.agent("bash", "-c", script, arguments=arguments)
    wait_for(agent, "online")
    return agent, sidecar


def until_more(container, word: str, *, than: int) -> None:
    until(lambda: count(container, word) > than, container.logs)


def count(container, word: str) -> int:
    return container.logs().stdout.splitlines().count(word)


def assert_nothing_is_left(pod) -> None:
    """No process of the workload's uid, no socket, and the fence still stands."""
    left = pod.bare(f"ls /proc | grep -c '^[0-9]'; test -S {SHARED}/control/agent.sock && echo S")
    assert "S" not in left.stdout
    tried = pod.bare("echo x > /dev/udp/203.0.113.5/99")
    assert "not permitted" in tried.stderr or "denied" in tried.stderr or tried.returncode


def test_a_sidecar_that_is_told_to_end_before_an_agent_came_ends_with_0(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        wait_for_event(sidecar, "sidecar.started")
        sidecar.kill("TERM")

        assert sidecar.wait() == 0


def test_a_workload_that_may_wait_is_offline_until_the_sidecar_is_back(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        agent, sidecar = running_pod(pod, arguments=("--sidecar-loss=wait",))
        sidecar.kill("KILL")
        sidecar.wait()
        until_more(agent, "offline", than=count(agent, "offline"))
        before = count(agent, "online")
        until_more(agent, "offline", than=count(agent, "offline"))
        assert count(agent, "online") == before

        podman("start", sidecar.name).checked()
        wait_for_event(agent, "sidecar.resumed")
        until_more(agent, "online", than=before)

        agent.kill("TERM")
        assert (agent.wait(), sidecar.wait()) == (143, 143)
        assert "LEAK" not in agent.logs().stdout


def test_a_restarted_sidecar_that_finds_its_port_taken_has_the_workload_ended(tmp_path):
    """Row D7: what is redirected to egress would end at the workload's own listener."""
    with sidecar_pod(tmp_path) as pod:
        script = f"exec python3 -c '{TAKE_PORT}'"
        pod.net_init().checked()
        sidecar = pod.sidecar()
        agent = pod.agent("sh", "-c", script, arguments=("--sidecar-loss=wait",), image=PROGRAMS)
        wait_for(agent, "waiting")
        sidecar.kill("KILL")
        sidecar.wait()
        wait_for(agent, "taken")

        podman("start", sidecar.name).checked()
        assert (agent.wait(), sidecar.wait()) == (137, 125)
        assert cause(sidecar) == "sidecar.workload-holds-port"
        assert not pod.upstream.heard


def test_the_workload_cannot_take_the_place_of_its_supervisor_at_a_restarted_sidecar(tmp_path):
    """The listener is there again, and the workload has the right uid, but not the token."""
    with sidecar_pod(tmp_path) as pod:
        agent, sidecar = running_pod(pod, arguments=("--sidecar-loss=wait",))
        os.kill(agent.host_pid(), signal.SIGSTOP)
        sidecar.kill("KILL")
        sidecar.wait()
        podman("start", sidecar.name).checked()
        volume = podman("volume", "inspect", "--format", "{{.Mountpoint}}", pod.shared).stdout
        path = Path(volume.strip()) / "control/agent.sock"
        until(path.exists)
        # in the pod's place, as its uid: what a workload that escaped Landlock could send
        said = as_uid_4242(path, hello(token=b"\0" * 32)), as_uid_4242(path, hello(token=b"x" * 32))
        os.kill(agent.host_pid(), signal.SIGCONT)

        assert all(b"sidecar.not-resumable" in word for word in said), said
        wait_for_event(agent, "sidecar.resumed")


def hello(*, token: bytes) -> bytes:
    from supervisor.sidecar.frames import Hello, OnLoss, encode

    return encode(Hello(on_loss=OnLoss.END, token=token))


def as_uid_4242(path: Path, packet: bytes) -> bytes:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.chdir(path.parent)
        os.setgroups([])
        os.setresgid(4242, 4242, 4242)
        os.setresuid(4242, 4242, 4242)
        connection.settimeout(10)
        try:
            connection.connect(path.name)
            connection.send(packet)
            os.write(write_end, connection.recv(4096) or b"closed")
        except OSError as error:
            os.write(write_end, repr(error).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    with os.fdopen(read_end, "rb") as pipe:
        return pipe.read()


def test_a_killed_agent_leaves_nothing_and_a_new_one_is_taken(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        agent, sidecar = running_pod(pod, script=FOR_EVER + " & " + FOR_EVER)
        agent.kill("KILL")
        assert agent.wait() == 137

        again = pod.agent("bash", "-c", TRY + "try", role="again")
        assert again.wait() == 0
        assert again.logs().stdout == "online\n"
        assert sidecar.wait() == 0


def test_where_processes_are_not_seen_a_killed_agent_ends_the_pod(tmp_path):
    with sidecar_pod(tmp_path, share="net", policy=UNAWARE) as pod:
        agent, sidecar = running_pod(pod, privileged=False)
        agent.kill("KILL")

        assert sidecar.wait() == 125
        assert cause(sidecar) == "sidecar.agent-lost"


def test_term_to_the_sidecar_first_ends_the_workload_with_its_grace(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        script = TRY + "trap 'try; exit 5' TERM; try; while :; do sleep 0.1; done"
        agent, sidecar = running_pod(pod, script=script)
        sidecar.kill("TERM")

        assert (agent.wait(), sidecar.wait()) == (5, 5)
        assert agent.logs().stdout == "online\nonline\n"


def test_nobody_changes_the_fence_while_the_sidecar_lives(tmp_path):
    with sidecar_pod(tmp_path) as pod:
        agent, sidecar = running_pod(pod)
        namespace = f"--net=/proc/{sidecar.host_pid()}/ns/net"
        rules = subprocess.run(
            ["nsenter", namespace, "nft", "-j", "list", "ruleset"], capture_output=True, text=True
        )
        assert "sandbox_supervisor" in json.dumps(json.loads(rules.stdout))
        done = subprocess.run(
            ["nsenter", namespace, "nft", "flush", "table", "inet", "sandbox_supervisor"],
            capture_output=True,
            text=True,
        )

        # The table is owned: not even root changes it while the sidecar lives.
        assert done.returncode != 0
        assert "not permitted" in done.stderr
        agent.kill("TERM")
        assert (agent.wait(), sidecar.wait()) == (143, 143)
