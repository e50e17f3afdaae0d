"""What happens to a running sandbox when egress fails, and when its policy changes.

attacks.md L1 (kill, stop, starve the helper: never open), F7 (what policy took away is gone).
The workload tries an allowed and a refused destination again and again and prints each answer, so
that the refused one is seen to stay refused throughout.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from support.acceptance import POLICY_FILE, PROGRAMS
from support.forms import POD, USER_NAMESPACE, owned_workspace
from support.podman import running
from support.records import events_of, records_in
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.sites import ZONE
from support.upstreams import Upstreams

from supervisor.fence.request import Served
from supervisor.identity.inputs import HELPER_IDS

TRYING = f"""
import socket, time
def talk(host):
    try:
        with socket.create_connection((host, 7), 20) as sock:
            sock.sendall(b"a long enough line to be told at once\\n")
            return "open" if sock.recv(100).startswith(b"a long") else "refused"
    except OSError as error:
        return "refused"
held = socket.create_connection(("held.{ZONE}", 7), 20)
held.settimeout(20)
while True:
    try:
        held.sendall(b"x"); held.recv(1) or 1 / 0
        kept = "kept"
    except Exception:
        kept = "lost"
    print(talk("echo.{ZONE}"), talk("203.0.113.5"), talk("other.{ZONE}"), kept, flush=True)
    time.sleep(0.1)
"""
# More than egress has descriptors for: tunnels, each of which takes two, until one cannot be dialled;
# then clients of the proxy that say nothing, until one cannot be accepted.
CROWD = f"""
import socket
crowd = []
def crowded(address, said):
    for _ in range(300):
        sock = socket.create_connection(address, 20); crowd.append(sock)
        sock.sendall(said)
        sock.settimeout(20 if said else 0.2)
        try:
            if not sock.recv(100): return
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
    raise SystemExit("never crowded")
crowded(socket.getaddrinfo("echo.{ZONE}", 7, socket.AF_INET, socket.SOCK_STREAM)[0][4], b"hello")
crowded(("127.0.0.1", {Served().proxy}), b"")
for sock in crowd:
    sock.close()
"""
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
DEADLINE_S = 45.0


def policy(*names):
    rules = "".join(f"      - {{host: {name}.{ZONE}, port: 7}}\n" for name in names)
    return (
        f"version: 1\nnetwork_policies:\n  lab:\n    endpoints:\n{rules}"
        "    binaries: [{path: /usr/bin/python3.11}]\n"
    )


class Sandbox:
    """A running container, its policy's directory, and what it prints."""

    def __init__(self, container, place):
        self.container = container
        self.place = place

    def tries(self):
        return [line.split() for line in self.container.logs().stdout.splitlines()]

    def events(self, name):
        return [one for one in events_of(self.container.logs().stderr) if one["event"] == name]

    def await_that(self, condition, what):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, (what, self.container.logs().output[-4000:])
            time.sleep(0.1)

    def await_event(self, name, count=1):
        self.await_that(lambda: len(self.events(name)) >= count, f"{count} times {name}")
        return self.events(name)

    def await_try(self, *expected):
        """From now on: the answers of one turn are these."""
        before = len(self.tries())
        self.await_that(lambda: list(expected) in self.tries()[before + 1 :], expected)

    def egress(self):
        """Its process id, as this machine sees it: the child that is egress' user."""
        found = [
            pid
            for pid in children_of(self.container.host_pid())
            if f"Uid:\t{HELPER_IDS['egress']}\t" in status_of(pid)
        ]
        assert len(found) == 1, found
        return found[0]

    def write(self, text):
        """Replace the policy as an editor does: a new file, renamed over the old one."""
        fresh = self.place / "fresh"
        fresh.write_text(text)
        fresh.rename(self.place / "policy.yaml")


def status_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""


def children_of(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory):
    directory = tmp_path_factory.mktemp("upstreams")
    directory.chmod(0o755)
    made = Upstreams(directory)
    made.table[f"held.{ZONE}", "A"] = made.table[f"echo.{ZONE}", "A"]
    yield made
    made.close()


@contextlib.contextmanager
def sandbox(upstreams, tmp_path, *, form=USER_NAMESPACE, prepare=None, options=(), script=TRYING):
    tmp_path.chmod(0o755)
    workspace, place = tmp_path / "workspace", tmp_path / "policy"
    workspace.mkdir()
    place.mkdir()
    (workspace / "trying.py").write_text(script)
    if prepare is None:
        (place / "policy.yaml").write_text(policy("echo", "held"))
    else:
        prepare(place)
    line = command_line(
        "/usr/bin/python3", "trying.py",
        verb="run", identity=form.identity, log=True,
        arguments=(f"--policy={POLICY_FILE}", *form.arguments),
    )  # fmt: skip
    with upstreams.attached() as network:
        with running(
            PROGRAMS,
            *form.options, *upstreams.options(network), *options, owned_workspace(workspace),
            f"--volume={place}:/policy:ro",
            entrypoint=ENTRYPOINT, command=line, mounts=mounts(),
        ) as container:  # fmt: skip
            made = Sandbox(container, place)
            made.await_try("open", "refused", "refused", "kept")
            yield made
            refused = {line[1] for line in made.tries() if len(line) > 1}
            assert refused <= {"refused"}  # whatever happened


@pytest.mark.parametrize("form", [USER_NAMESPACE, POD], ids=lambda form: form.name)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_l1_egress_that_fails_is_replaced_and_the_fence_stays_closed(
    upstreams, tmp_path, form, how
):
    with sandbox(upstreams, tmp_path, form=form) as running_sandbox:
        first = running_sandbox.egress()

        os.kill(first, how)
        died = running_sandbox.await_event("helper.died")
        running_sandbox.await_event("helper.restarted")
        running_sandbox.await_try("open", "refused", "refused", "lost")

        assert died[0]["helper"] == "egress"
        assert died[0]["status"] == -signal.SIGKILL
        assert running_sandbox.egress() != first
        assert bool(running_sandbox.events("helper.fault")) == (how is signal.SIGSTOP)
        records = records_in(running_sandbox.container.logs().stderr)
        told = [one["metadata"] for one in records if one["metadata"]["log_provider"] == "egress"]
        numbers = [one["sequence"] for one in told]
        assert numbers == sorted(set(numbers))


def test_l1_a_crash_loop_ends_the_workload_with_its_cause(upstreams, tmp_path):
    with sandbox(upstreams, tmp_path) as running_sandbox:
        end = time.monotonic() + DEADLINE_S
        while not running_sandbox.events("sandbox.ended"):
            assert time.monotonic() < end
            with contextlib.suppress(AssertionError, OSError, psutil.Error):
                os.kill(running_sandbox.egress(), signal.SIGKILL)

        ended = running_sandbox.events("sandbox.ended")[0]
        assert running_sandbox.container.wait() == ended["status"] != 0
        assert ended["code"] == "monitor.egress-crash-loop"
        assert running_sandbox.events("helper.gave-up")


def test_l1_the_end_of_the_monitor_is_the_end_of_the_workload(upstreams, tmp_path):
    with sandbox(upstreams, tmp_path) as running_sandbox:
        monitor = running_sandbox.container.host_pid()
        below = children_of(monitor)

        os.kill(monitor, signal.SIGKILL)
        running_sandbox.container.wait()

        assert not [pid for pid in below if "State:\tR" in status_of(pid)]


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


def test_n2_egress_without_descriptors_sheds_says_so_and_recovers(upstreams, tmp_path):
    """attacks.md N2: it may have no more than the container, which is few here."""
    options = ("--ulimit=nofile=256:256", "--ulimit=nproc=32768:32768")
    with sandbox(upstreams, tmp_path, options=options, script=CROWD + TRYING) as running_sandbox:
        running_sandbox.await_try("open", "refused", "refused", "kept")

        assert running_sandbox.await_event("egress.shed")[0]["cause"] == "Too many open files"
        refused = {one["code"]: one["cause"] for one in running_sandbox.events("egress.refused")}
        assert refused["egress.overloaded"] == "Too many open files"
        assert not running_sandbox.events("helper.died")
