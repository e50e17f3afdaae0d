"""Rows of the attack list that are about a pod of several containers (A9-A11, D10, L2, L3)."""

import pytest
from support.podman import podman
from support.sandbox import ENTRYPOINT, TREE, events, wait_for, wait_for_event
from support.sidecar_pod import (
    EGRESS,
    GID,
    NAME,
    PORT,
    SHARED,
    UID,
    sidecar_pod,
)

# Everything that a container beside the agent's could try: what answers, and what may be sent.
TRY = f"""for target in ADDRESS {NAME}; do
(exec 3<>/dev/tcp/$target/{PORT} && printf 'GET / HTTP/1.1\\r\\nHost: %s:{PORT}\\r\\n\\r\\n' $target >&3 \
&& timeout 2 cat <&3) 2>/dev/null; done
(echo x > /dev/udp/ADDRESS/99) 2>/dev/null && echo SENT; true"""


@pytest.fixture
def served(tmp_path):
    """A pod whose sidecar serves, without an agent."""
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        wait_for_event(pod.sidecar(), "helper.ready", helper="egress")
        yield pod


@pytest.mark.parametrize("role", ["net-init", "sidecar"])
def test_a9_the_uid_that_the_fence_lets_out_is_never_the_workloads(tmp_path, role):
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        words = (role, "--uid", str(EGRESS), "--gid", str(GID), "--shared", SHARED)
        refused = pod.container(
            "other", *words, user="0:0", caps=("NET_ADMIN", "SYS_PTRACE", "KILL", "SETUID",
            "SETGID", "SETPCAP", "CHOWN", "FOWNER"), detach=False, remove=True,
        )  # fmt: skip

        assert refused.returncode == 125
        assert "identity.reserved-id" in refused.stderr


@pytest.mark.parametrize(
    "user", ["0:0", f"{UID}:{EGRESS}", f"9999:{GID}"], ids=["A10-root", "A11-gid", "stranger"]
)
def test_another_container_of_the_pod_gets_no_way_out_by_root_or_by_a_group(served, user):
    """Only egress' own uid is let out, so that neither root nor a group of egress' number is."""
    script = TRY.replace("ADDRESS", served.upstream.address)
    outcome = served.bare(script, user=user)

    assert "SENT" not in outcome.stdout
    assert f"Host: {served.upstream.address}" not in str(served.upstream.heard)
    wanted = b"Host: " + NAME.encode()
    assert all(wanted in head for head in served.upstream.heard)


def test_d10_of_the_sidecar_the_workload_reads_nothing_and_no_secret_is_on_a_command_line(served):
    """/proc shows the other containers' processes; command lines are readable, so they say nothing."""
    script = (
        "for p in /proc/[0-9]*; do [ $p = /proc/$$ ] && continue; "
        "for name in environ mem maps auxv; do cat $p/$name 2>/dev/null && echo READ $p/$name; done; "
        "for name in exe cwd root ns/net fd/0; do readlink $p/$name && echo LINK $p/$name; done; "
        "cat $p/cmdline; echo; done; exit 0"
    )
    agent = served.agent("sh", "-c", script)

    assert agent.wait() == 0
    printed = agent.logs().stdout
    lines = printed.splitlines()
    assert not [line for line in lines if line.startswith(("READ", "LINK"))]
    assert "\0sidecar\0--policy\0" in printed  # that much can be seen, so it must be harmless
    assert "token" not in printed


def test_l2_our_own_binary_gives_the_workload_nothing(served):
    """Whatever it is started as: the channel is taken, and nothing is left to give away."""
    roles = {
        "net-init": ("--uid=4242", "--gid=4242", f"--shared={SHARED}"),
        "sidecar": ("--uid=4242", "--gid=4242", f"--shared={SHARED}"),
        "run": ("--mode=network-only", f"--shared={SHARED}", "--sidecar-timeout=1", "--", "true"),
        "report": ("--json",),
        "status": ("--json",),
        "events": ("--json",),
    }
    lines = [
        f"{ENTRYPOINT} {role} {' '.join(words)}; echo {role} $?" for role, words in roles.items()
    ]
    agent = served.agent("sh", "-c", "; ".join(lines))

    assert agent.wait() == 0
    said = (line.split() for line in agent.logs().stdout.splitlines())
    ends = dict(words for words in said if len(words) == 2)
    assert ends.keys() == roles.keys(), agent.logs()
    assert "0" not in ends.values()


def test_l3_the_supervisor_cannot_be_overwritten(served):
    script = (
        f"for file in {ENTRYPOINT} {TREE}/bin/python3 $(readlink /proc/$PPID/exe) /proc/$PPID/exe; do "
        "( echo x >> $file ) 2>/dev/null && echo WROTE $file; done; "
        f"mv {ENTRYPOINT} {TREE}/other 2>/dev/null && echo MOVED; echo done; sleep 30"
    )
    agent = served.agent("sh", "-c", script)

    printed = wait_for(agent, "done")
    assert printed == "done\n"
    podman("kill", "--signal", "TERM", agent.name).checked()
    assert agent.wait() == 143
    assert not [one for one in events(agent) if one["event"] == "proof.surprise"]
