"""Headless Chromium with egress served: what policy names loads, the rest is refused. Nightly.

Its own resolver, its TLS library, ECH's grease and its QUIC attempts are nobody else's.
"""

import json

import pytest
from support.acceptance import write_policy
from support.forms import POD, USER_NAMESPACE, owned_workspace
from support.podman import run
from support.records import events_of
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.sites import ZONE

IMAGE = "localhost/sandbox-test/browser"
CHROMIUM = "/usr/lib/chromium/chromium"
POLICY = f"""version: 1
network_policies:
  browser:
    endpoints: [{{host: echo.{ZONE}, ports: [80, 443]}}]
    binaries: [{{path: {CHROMIUM}}}]
  others:
    endpoints: [{{host: other.{ZONE}, ports: [80, 443]}}]
    binaries: [{{path: /usr/bin/wget}}]
"""
PAGES = {
    "http": f"http://echo.{ZONE}/hi",
    "https": f"https://echo.{ZONE}/hi",
    "unnamed": f"https://unnamed.{ZONE}/hi",
    "foreign http": f"http://other.{ZONE}/hi",
    "foreign https": f"https://other.{ZONE}/hi",
    "address": "http://203.0.113.5/",
}
# The test's authority is not in Chromium's own store. Its own sandbox is another test's matter
# (privileged/test_real_programs.py).
FLAGS = "--headless --disable-gpu --no-sandbox --ignore-certificate-errors --user-data-dir=profile"
SCRIPT = f"""
import json, os, subprocess
os.environ["TMPDIR"] = os.getcwd()  # the policy opens no other directory for writing
found = {{}}
for name, page in {PAGES!r}.items():
    line = ["{CHROMIUM}", *"{FLAGS}".split(), "--dump-dom", page]
    done = subprocess.run(line, capture_output=True, text=True, timeout=90)
    found[name] = done.stdout
print(json.dumps(found))
"""
WHOLE_S = 280.0


@pytest.mark.nightly
@pytest.mark.parametrize("form", [USER_NAMESPACE, POD], ids=lambda form: form.name)
def test_chromium_loads_what_policy_names_and_nothing_else(upstreams, tmp_path, form):
    tmp_path.chmod(0o755)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "browse.py").write_text(SCRIPT)
    with upstreams.attached() as network:
        done = run(
            IMAGE,
            *form.options,
            *upstreams.options(network),
            owned_workspace(workspace),
            write_policy(tmp_path, POLICY),
            entrypoint=ENTRYPOINT,
            command=command_line(
                *("/usr/bin/python3", "browse.py"),
                verb="run",
                identity=form.identity,
                log=True,
                arguments=("--policy=/policy/policy.yaml", *form.arguments),
            ),
            mounts=mounts(),
            timeout_s=WHOLE_S,
        ).checked()
    pages, events = json.loads(done.stdout), events_of(done.stderr)
    refused = {
        (event["host"], event["code"]) for event in events if event["event"] == "egress.refused"
    }
    opened = {event["host"] for event in events if event["event"] == "egress.opened"}

    assert '"path": "/hi"' in pages["http"]
    assert '"path": "/hi"' in pages["https"]
    assert '"path": "/hi"' not in pages["unnamed"] + pages["foreign http"] + pages["foreign https"]
    assert "policy.binary-not-allowed" in pages["foreign http"]
    assert "ERR_SSL_PROTOCOL_ERROR" in pages["foreign https"]
    assert "policy.host-not-allowed" in pages["address"]
    assert (f"other.{ZONE}", "policy.binary-not-allowed") in refused
    assert opened == {f"echo.{ZONE}"}  # nothing of what a browser calls home for
    assert not [asked for asked, _ in upstreams.nameserver.asked if "echo" not in asked]
