"""Who a program is and where a name leads, through the whole egress in real containers.

network.md cases 25 (a listed link), 26 (a program that was replaced), 39 (the host's address).
"""

import json

import pytest
from support.acceptance import POLICY_FILE, PROGRAMS, events_of, write_policy
from support.forms import POD, USER_NAMESPACE, owned_workspace
from support.podman import run
from support.sandbox import ENTRYPOINT, command_line, mounts
from support.sites import ZONE
from support.upstreams import METADATA

GATEWAY = "169.254.1.2"  # the address under which podman offers the host
POLICY = f"""
version: 1
network_policies:
  link-of-the-image:
    endpoints:
      - {{host: echo.{ZONE}, port: 7}}
      - {{host: host.docker.internal, port: 7}}
      - {{host: host.containers.internal, port: 7}}
    binaries: [{{path: /usr/bin/python3}}]
  link-of-the-workload:
    endpoints: [{{host: pypi.{ZONE}, port: 80}}]
    binaries: [{{path: /sandbox/link}}]
  a-file-of-the-workload:
    endpoints: [{{host: echo.{ZONE}, port: 80}}]
    binaries: [{{path: /sandbox/tool}}]
"""
SCRIPT = f"""
import json, os, re, shutil, socket, subprocess
def connect(host):
    with socket.create_connection((host, 7), 20) as sock:
        sock.settimeout(20)
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        return code(sock.makefile().read() if host == "host.containers.internal" else sock.recv(100).decode())
def code(text):
    found = re.search('"code": "([^"]*)', text)
    return found[1] if found else "allowed" if text else "nothing"
def fetch(program, host):
    return code(subprocess.run([program, "-s", f"http://{{host}}.{ZONE}/"], capture_output=True, text=True).stdout)
while True:  # DNS waits in a socket while egress starts, but a resolver gives up after two seconds
    try:
        socket.getaddrinfo("echo.{ZONE}", 7)
        break
    except socket.gaierror as error:
        if error.errno != socket.EAI_AGAIN: raise
said = {{"exe": os.readlink("/proc/self/exe"), "link": connect("echo.{ZONE}")}}
said["workload's link"] = fetch("/sandbox/link", "pypi")
shutil.copy("/usr/bin/curl", "tool")
said["first"] = fetch("/sandbox/tool", "echo")
shutil.copy("tool", "new")
with open("new", "ab") as file: file.write(b"changed")
os.rename("new", "tool")
said["replaced"] = fetch("/sandbox/tool", "echo")
said["gateway"] = connect("host.docker.internal")
said["metadata"] = connect("host.containers.internal")
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def upstreams(upstreams):
    upstreams.outside.ip("addr", "add", f"{GATEWAY}/32", "dev", "bridge")
    return upstreams


@pytest.fixture(scope="module", params=[USER_NAMESPACE, POD], ids=lambda form: form.name)
def done(request, upstreams, tmp_path_factory):
    form, directory = request.param, tmp_path_factory.mktemp("identity")
    directory.chmod(0o755)
    workspace = directory / "workspace"
    workspace.mkdir()
    (workspace / "script.py").write_text(SCRIPT)
    (workspace / "link").symlink_to("/usr/bin/curl")
    line = command_line(
        "/usr/bin/python3", "script.py",
        verb="run", identity=form.identity, log=True,
        arguments=(f"--policy={POLICY_FILE}", *form.arguments),
    )  # fmt: skip
    with upstreams.attached() as network:
        return run(
            PROGRAMS,
            *form.options, *upstreams.options(network), owned_workspace(workspace),
            write_policy(directory, POLICY),
            f"--add-host=host.docker.internal:{GATEWAY}",
            f"--add-host=host.containers.internal:{METADATA}",
            entrypoint=ENTRYPOINT, command=line, mounts=mounts(),
        ).checked()  # fmt: skip


@pytest.fixture
def said(done):
    return json.loads(done.stdout)


def test_case_25_a_link_of_the_image_counts_for_the_file_behind_it(said):
    assert said["exe"] != "/usr/bin/python3"
    assert said["link"] == "allowed"


def test_case_25_a_link_that_the_workload_could_have_made_does_not(said, done):
    assert said["workload's link"] == "policy.binary-not-allowed"
    started = next(one for one in events_of(done.stderr) if one["event"] == "sandbox.started")
    assert "not followed: /sandbox/link" in json.dumps(started["report"])


def test_case_26_a_program_that_was_replaced_after_its_first_connection_is_refused(said):
    assert said["first"] == "allowed"
    assert said["replaced"] == "policy.caller-changed"


def test_case_39_the_hosts_address_is_reached_by_its_name_and_metadata_is_not(said):
    assert said["gateway"] == "allowed"
    assert said["metadata"] == "policy.address-not-gateway"
