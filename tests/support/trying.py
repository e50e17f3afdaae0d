"""A running sandbox whose workload tries again and again and prints each answer.

An allowed destination, a refused one, one that policy may come to allow, and a tunnel that it keeps:
so that the refused one is seen to stay refused whatever happens to the helpers and the policy.
"""

import contextlib
import time
from pathlib import Path

import psutil

from supervisor.identity.inputs import HELPER_IDS
from support.acceptance import POLICY_FILE, PROGRAMS
from support.forms import USER_NAMESPACE, owned_workspace
from support.podman import running
from support.records import events_of
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.sites import ZONE
from support.upstreams import Upstreams

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


@contextlib.contextmanager
def upstreams_of(directory):
    """The outside, with the names that ``policy`` takes."""
    directory.chmod(0o755)
    made = Upstreams(directory)
    made.table[f"held.{ZONE}", "A"] = made.table[f"echo.{ZONE}", "A"]
    yield made
    made.close()


@contextlib.contextmanager
def sandbox(
    upstreams, tmp_path, *,
    form=USER_NAMESPACE, prepare=None, options=(), arguments=(), script=TRYING,
):  # fmt: skip
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
        arguments=(f"--policy={POLICY_FILE}", *form.arguments, *arguments),
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
