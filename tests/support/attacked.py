"""One container in which all of ``support/rows`` ran as the workload, in one form of the fence."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.acceptance import run_in_form
from support.forms import Form, owned_workspace
from support.podman import Mount
from support.records import events_of
from support.sites import ZONE
from support.upstreams import METADATA, SERVER, Upstreams

ROWS = Path(__file__).with_name("rows")
WHOLE_S = 240.0
PIDS = 300
POLICY = f"""
version: 1
network_policies:
  python:
    endpoints:
      - {{host: echo.{ZONE}, ports: [7, 21, 80, 443]}}
      - {{host: fleeting.{ZONE}, port: 7}}
      - {{host: skip.{ZONE}, port: 443, tls: skip}}
      - {{host: "*.public.{ZONE}", ports: [7, 443]}}
      - {{host: rebind.{ZONE}, port: 443}}
      - {{host: mixed.{ZONE}, port: 443}}
      - {{host: loop.{ZONE}, port: 443}}
      - {{host: mapped.{ZONE}, port: 443}}
    binaries: [{{path: /usr/bin/python3.11}}]
  curl:
    endpoints: [{{host: curl-only.{ZONE}, port: 80}}]
    binaries: [{{path: /usr/bin/curl}}]
  other:
    endpoints: [{{host: other.{ZONE}, ports: [80, 443]}}]
    binaries: [{{path: /usr/bin/wget}}]
"""
TABLE = {
    (f"fleeting.{ZONE}", "A"): [SERVER],
    (f"skip.{ZONE}", "A"): [SERVER],
    (f"curl-only.{ZONE}", "A"): [SERVER],
    (f"rebind.{ZONE}", "A"): [METADATA],
    (f"mixed.{ZONE}", "A"): [SERVER, "127.0.0.1"],
    (f"loop.{ZONE}", "A"): ["127.0.0.1"],
    (f"mapped.{ZONE}", "AAAA"): [f"::ffff:{METADATA}"],
    (f"private.public.{ZONE}", "A"): [SERVER],
}
# What an image may declare to have code of its own loaded (attacks.md J2), and one harmless one.
VARIABLES = {
    **dict.fromkeys(("LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "BASH_ENV"), "/sandbox/evil"),
    **dict.fromkeys(("LD_LIBRARY_PATH", "GCONV_PATH", "PYTHONPATH"), "/sandbox"),
    "NODE_OPTIONS": "--require=/sandbox/evil",
    "JAVA_TOOL_OPTIONS": "-javaagent:/sandbox/evil",
    "GIT_SSH_COMMAND": "/sandbox/evil",
    "BUN_OPTIONS": "--preload=/sandbox/evil",
    "LC_TIME": "C.UTF-8",
}
SMUGGLED, ALLOWED = b"smuggled-out", b"allowed-out"
REPLACED, BETWEEN_S = 4, 0.5


class Attacked:
    """What the rows said in one form, what egress said of them, what arrived outside."""

    def __init__(self, form: Form, upstreams: Upstreams, directory: Path) -> None:
        self.form = form
        directory.chmod(0o755)
        workspace = directory / "workspace"
        workspace.mkdir()
        upstreams.nameserver.asked.clear()
        with (
            upstreams.attached() as attached,
            upstreams.listening_for(SMUGGLED, ALLOWED) as self.outside,
            granting_wishes(workspace / "wish", directory / "policy"),
        ):
            network, *trusted = upstreams.options(attached)
            done = run_in_form(
                form,
                *("/usr/bin/python3", "/opt/rows"),
                policy=POLICY,
                directory=directory,
                network=network,
                options=(
                    *trusted,
                    owned_workspace(workspace),
                    f"--pids-limit={PIDS}",
                    *(f"--env={name}={value}" for name, value in VARIABLES.items()),
                ),
                mounted=(Mount(source=ROWS, target="/opt/rows"),),
                timeout_s=WHOLE_S,
            ).checked()
        self.rows = json.loads(done.stdout)
        self.events = events_of(done.stderr)
        self.asked = {name for name, _ in upstreams.nameserver.asked}

    def __getitem__(self, name: str) -> dict:
        found = self.rows[name]
        assert "error" not in found, found
        return found

    def refused(self, **fields: object) -> list[dict]:
        """The refusals with these fields that egress told."""
        return [
            event
            for event in self.events
            if event["event"] == "egress.refused" and fields.items() <= event.items()
        ]


@contextmanager
def granting_wishes(wish: Path, policy: Path) -> Iterator[None]:
    """Do to the policy what a row asks for by a file, and remove the file when it is done."""
    stopped = threading.Event()
    file, fresh = policy / "policy.yaml", policy / "fresh"

    def replace(text: str) -> None:
        fresh.write_text(text)
        fresh.rename(file)

    def grant() -> None:
        while not stopped.wait(0.05):
            if not wish.exists():
                continue
            before = file.read_text()
            match wish.read_text():
                case "replace the policy":
                    for number in range(REPLACED):
                        replace(before.replace("skip.", f"skip{number}."))
                        stopped.wait(BETWEEN_S)
                    replace(before)
                case "take fleeting away":
                    lines = before.splitlines(keepends=True)
                    replace("".join(line for line in lines if "fleeting" not in line))
                case unknown:
                    raise ValueError(unknown)
            wish.unlink()

    thread = threading.Thread(target=grant)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
