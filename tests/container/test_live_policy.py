"""What happens to a running sandbox when its policy changes."""

import json

from support.sites import ZONE
from support.trying import TRYING, policy, sandbox

# All connect before any of them says a word.
BURST = f"""
import socket
address = socket.getaddrinfo("echo.{ZONE}", 7, socket.AF_INET, socket.SOCK_STREAM)[0][4]
burst = [socket.socket() for _ in range(300)]
for sock in burst:
    sock.setblocking(False); sock.connect_ex(address)
for sock in burst:
    sock.settimeout(20); sock.sendall(b"hello")
print(sum(sock.recv(100) == b"hello" for sock in burst), flush=True)
for sock in burst:
    sock.close()
"""


def test_a_new_policy_closes_what_it_forbids_and_nothing_else(upstreams, tmp_path):
    """Also F7: the name that was allowed has an address in the program's cache, and it is closed."""
    with sandbox(upstreams, tmp_path) as running_sandbox:
        running_sandbox.write(policy("held", "other"))
        running_sandbox.await_try("refused", "refused", "open", "kept")

        running_sandbox.write(policy("echo", "other"))
        running_sandbox.await_try("open", "refused", "open", "lost")

        assert len(running_sandbox.events("policy.loaded")) == 2
        ended = running_sandbox.events("egress.closed")
        assert [one for one in ended if one["host"] == f"held.{ZONE}"]


def test_a_bad_policy_is_loud_and_the_last_good_one_stays(upstreams, tmp_path):
    with sandbox(upstreams, tmp_path) as running_sandbox:
        running_sandbox.write("version: 1\nnetwork_polices: {}\n")
        rejected = running_sandbox.await_event("policy.rejected")
        running_sandbox.await_try("open", "refused", "refused", "kept")
        running_sandbox.write(policy("held", "other"))
        running_sandbox.await_try("refused", "refused", "open", "kept")

        assert rejected[0]["severity"] == "high"
        assert "network_polices" in json.dumps(rejected[0])


def test_a_program_that_is_listed_by_a_link_of_the_workloads_is_a_finding(upstreams, tmp_path):
    with sandbox(upstreams, tmp_path) as running_sandbox:
        (tmp_path / "workspace/link").symlink_to("/usr/bin/python3.11")
        text = policy("echo", "held").replace("/usr/bin/python3.11", "/sandbox/link")
        running_sandbox.write(text)

        (found,) = running_sandbox.await_event("finding")
        assert found["code"] == "policy.link-not-followed"
        assert "/sandbox/link" in found["cause"]
        running_sandbox.await_try("refused", "refused", "refused", "lost")


def test_a_config_map_is_swapped_by_its_symlink(upstreams, tmp_path):
    def project(place, text, name="..2026_1"):
        (place / name).mkdir()
        (place / name / "policy.yaml").write_text(text)
        (place / "..data_tmp").symlink_to(name)
        (place / "..data_tmp").rename(place / "..data")

    def prepare(place):
        project(place, policy("echo", "held"))
        (place / "policy.yaml").symlink_to("..data/policy.yaml")

    with sandbox(upstreams, tmp_path, prepare=prepare) as running_sandbox:
        project(running_sandbox.place, policy("held", "other"), "..2026_2")

        running_sandbox.await_try("refused", "refused", "open", "kept")


def test_sighup_looks_again_and_is_not_forwarded(upstreams, tmp_path):
    """A bind-mounted file that is written in place makes no event in the directory."""
    with sandbox(upstreams, tmp_path) as running_sandbox:
        with open(running_sandbox.place / "policy.yaml", "r+") as file:
            file.write(policy("held", "other"))
            file.truncate()
        running_sandbox.container.kill("HUP")

        running_sandbox.await_try("refused", "refused", "open", "kept")


def test_a_burst_of_connections_of_one_program_all_succeed(upstreams, tmp_path):
    """The monitor takes 64 questions about a connection's program at once; the rest wait."""
    with sandbox(upstreams, tmp_path, script=BURST + TRYING) as running_sandbox:
        assert running_sandbox.tries()[0] == ["300"]
