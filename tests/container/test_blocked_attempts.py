"""What the fence refuses is told: who, what, where to, and what to do instead."""

import json
import os
import signal

import pytest
from support import podman
from support.acceptance import POLICY_FILE, write_policy
from support.forms import POD, UNPRIVILEGED, USER_NAMESPACE, owned_workspace
from support.processes import children
from support.records import records_in
from support.sandbox import (
    DEBIAN,
    ENTRYPOINT,
    IDENTITY,
    command_line,
    mounts,
    wait_for,
    wait_for_event,
)
from support.waiting import until

SERVED = """version: 1
network_policies:
  web:
    endpoints: [{host: allowed.example, ports: [443]}]
    binaries: [{path: /usr/bin/perl}]
"""
# A datagram to the port of QUIC, again and again, each to another address.
PROGRAM = """
use Socket;
$| = 1;
socket(my $out, PF_INET, SOCK_DGRAM, 17) or die;
for my $turn (1 .. 600) {
    send($out, "x", 0, sockaddr_in(443, inet_aton("203.0.113.$turn")));
    print "sent $turn\\n";
    select(undef, undef, undef, 0.2);
}
"""
CASES = [
    pytest.param(form, served, id=f"{form.name}-{'served' if served else 'closed'}")
    for form, served in ((USER_NAMESPACE, False), (USER_NAMESPACE, True), (POD, True), (UNPRIVILEGED, False))
]  # fmt: skip


def started(tmp_path, form, *, served):
    arguments, options = form.arguments, form.options
    if served:
        arguments = (*arguments, f"--policy={POLICY_FILE}")
        options = (*options, write_policy(tmp_path, SERVED))
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    options = (*options, owned_workspace(workspace))
    line = command_line(
        "perl", "-e", PROGRAM, verb="run", identity=form.identity, arguments=arguments, log=True
    )
    return podman.running(DEBIAN, *options, entrypoint=ENTRYPOINT, command=line, mounts=mounts())


def blocked(container):
    """The records of blocked attempts, by destination address."""
    records = records_in(container.logs().stderr)
    return {
        record["dst_endpoint"]["ip"]: record
        for record in records
        if record.get("metadata", {}).get("event_code") == "attempt.blocked"
    }


def wait_for_blocked(container, destination):
    """The record of the attempt at this address."""
    return until(lambda: blocked(container).get(destination), container.logs)


def watcher_of(container):
    """The process id of the watcher: the monitor's child that is neither egress nor the workload."""
    found = []
    for pid in children(container.host_pid()):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            is_ours = b"supervisor" in file.read()
        if is_ours and len(os.listdir(f"/proc/{pid}/fd")) <= 4:
            found.append(pid)
    (watcher,) = found
    return watcher


@pytest.mark.parametrize(("form", "served"), CASES)
def test_a_blocked_datagram_is_told_with_user_target_and_remedy(tmp_path, form, served):
    with started(tmp_path, form, served=served) as container:
        record = wait_for_blocked(container, "203.0.113.1")
        asked = container.exec(ENTRYPOINT, "events", "--denied", "--json").checked()

    assert record["actor"]["user"]["uid"] == str(IDENTITY)
    assert record["connection_info"]["protocol_name"] == "udp"
    assert record["dst_endpoint"] == {"ip": "203.0.113.1", "port": 443}
    assert record["status_code"] == "blocked.quic"
    assert "HTTP/3" in record["unmapped"]["remedy"]
    assert record in [json.loads(line) for line in asked.stdout.splitlines()]


def test_the_watcher_holds_nothing_and_a_dead_one_is_replaced(tmp_path):
    with started(tmp_path, USER_NAMESPACE, served=True) as container:
        wait_for_blocked(container, "203.0.113.1")
        watcher = watcher_of(container)
        with open(f"/proc/{watcher}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        files = [
            os.readlink(f"/proc/{watcher}/fd/{fd}") for fd in os.listdir(f"/proc/{watcher}/fd")
        ]
        os.kill(watcher, signal.SIGKILL)
        wait_for_event(container, "helper.died", helper="watcher", status=-signal.SIGKILL)
        sent = container.logs().stdout.split()[-1]
        wait_for_blocked(container, f"203.0.113.{int(sent) + 2}")
        assert watcher_of(container) != watcher

    assert status["Uid"].split() == ["64999"] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert len(files) == 3
    assert sum(name.startswith("socket:") for name in files) == 2


def test_a_proof_on_demand_sees_its_own_attempts_and_tells_none_of_them(tmp_path):
    with started(tmp_path, USER_NAMESPACE, served=False) as container:
        wait_for(container, "sent 1")
        answer = container.exec(ENTRYPOINT, "report", "--prove", "--json").checked()
        assert json.loads(answer.stdout)["proof"]["surprises"] == []
        sent = container.logs().stdout.split()[-1]
        wait_for_blocked(container, f"203.0.113.{int(sent) + 2}")
        told = blocked(container)

    assert {record["dst_endpoint"]["port"] for record in told.values()} == {443}
    assert all(address.startswith("203.0.113.") for address in told)
