"""``events`` and ``status`` of a real sandbox, while it runs."""

import json
import subprocess
from contextlib import contextmanager

from support.acceptance import POLICY_FILE, write_policy
from support.podman import environment
from support.sandbox import ENTRYPOINT, sandbox
from support.waiting import until

POLICY = """\
version: 1
network_policies:
  lab:
    endpoints: [{host: allowed.example, port: 7}]
    binaries: [{path: /usr/bin/bash}]
"""
# One of each kind of denial a turn; the connection is held until it is answered.
WORKLOAD = """
exec 2>/dev/null
while :; do
  (exec 3<>/dev/tcp/refused.example/443)
  (exec 3<>/dev/tcp/192.0.2.9/80 && printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3 && cat <&3)
  (echo x > /dev/udp/203.0.113.7/443)
  sleep 0.2
done
"""


@contextmanager
def denying(tmp_path, *more):
    options = (write_policy(tmp_path, POLICY),)
    arguments = (f"--policy={POLICY_FILE}", *more)
    with sandbox("bash", "-c", WORKLOAD, arguments=arguments, options=options) as container:
        yield container


def followed(container, *words, are_enough):
    """The records that ``events --follow`` prints until they are enough."""
    command = ["podman", "exec", container.name, ENTRYPOINT, "events", "--follow", "--json", *words]
    records = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as running:
        for line in running.stdout:
            records.append(json.loads(line))
            if are_enough(records):
                break
        running.terminate()
    return records


def with_code(records, code):
    return [record for record in records if record["metadata"]["event_code"] == code]


def asked(container, *words):
    """What a command prints; "" while the sandbox is still starting."""
    done = container.exec(ENTRYPOINT, *words)
    return "" if "control.not-running" in done.stderr else done.checked().stdout


def denials(container):
    status = container.exec(ENTRYPOINT, "status", "--json")
    return [] if status.returncode else json.loads(status.stdout)["denials"]


def test_denials_are_followed_as_they_happen_numbered_and_with_ids(tmp_path):
    with denying(tmp_path) as container:
        until(lambda: len(denials(container)) >= 3)

        def are_enough(found):
            return (
                with_code(found, "dns.refused")
                and with_code(found, "attempt.blocked")
                and len(with_code(found, "connection.refused")) >= 5
            )

        records = followed(container, "--denied", are_enough=are_enough)

        assert all(record["action_id"] == 2 for record in records)
        refused = with_code(records, "connection.refused")
        told = {one["unmapped"]["request_id"] for one in refused}
        assert len(told) == len(refused)
        assert all(one["src_endpoint"]["port"] for one in refused)
        for source in ("egress", "watcher"):
            numbers = [
                record["metadata"]["sequence"]
                for record in records
                if record["metadata"]["log_provider"] == source
            ]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_lines_for_people_are_the_same_records(tmp_path):
    with denying(tmp_path, "--log-format=text") as container:
        until(lambda: "connection.refused" in asked(container, "events"))
        lines = asked(container, "events").splitlines()
        logged = container.logs().stderr.splitlines()

        refused = next(line for line in lines if " connection.refused " in line)
        assert " -> 192.0.2.9:80 " in refused
        assert "code=policy.host-not-allowed" in refused
        assert refused in logged
        assert any(" sandbox.started " in line for line in lines)
        assert any(" helper.ready egress(" in line for line in logged)


def test_status_shows_each_host_port_and_program_once(tmp_path):
    with denying(tmp_path) as container:
        # Until sums are told, too (every ten seconds): they must not be lines of their own.
        until(lambda: "denials.summed" in asked(container, "events", "--denied"))
        status = json.loads(asked(container, "status", "--json"))
        found = [(one["host"], one["port"], one["program"]) for one in status["denials"]]

        assert len(set(found)) == len(found)
        assert ("refused.example", 53, "-") in found
        assert ("203.0.113.7", 443, "-") in found
        assert any(host == "192.0.2.9" and program != "-" for host, _, program in found)
        assert all(one["count"] > 5 for one in status["denials"] if one["port"] == 53)
        assert (status["alive"], status["ready"], status["why_not"]) == (True, True, "")
        assert {"memory-limit", "trust-store"} <= set(status["degraded"])
        assert status["policy_generation"] == 0
        assert {helper["name"] for helper in status["helpers"]} == {"egress", "watcher"}
        assert status["tunnels"] == 0
        shown = asked(container, "status")
        assert "refused.example:53  egress.name-refused" in shown
        assert "started            20" in shown
