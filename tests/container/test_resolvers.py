"""Resolvers of every kind and whatever stands in resolv.conf: names that policy allows are found.

libc's (glibc and musl), those that programs bring along (Node's c-ares, Go's, Java's, BIND's), under
search lists, options and the addresses of a local stub.
"""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.acceptance import COMMAND, RUNNER, arrange, outcome_of, run_in_form
from support.forms import POD, USER_NAMESPACE, owned_workspace
from support.podman import Mount
from support.sites import ZONE
from support.upstreams import SERVER, SERVER_V6

SOURCE = Path(__file__).parents[1] / "support/resolving.c"
# What the file says, and further arguments of ours.
KUBERNETES = f"""search ns.svc.cluster.local svc.cluster.local {ZONE}
nameserver {SERVER}
options ndots:5
"""
# systemd-resolved's own address means nothing in a container: --resolver says who knows.
STUB = """nameserver 127.0.0.53
options edns0 trust-ad
search .
"""
# Nobody listens at the first one, and everything is asked over TCP.
OPTIONS = f"""nameserver {SERVER_V6}
nameserver {SERVER}
options rotate timeout:1 attempts:2 use-vc single-request-reopen unheard-of:3
"""
# What the file says, and further arguments of ours.
FILES = {
    "kubernetes": (KUBERNETES, ()),
    "stub": (STUB, (f"--resolver={SERVER}",)),
    "options": (OPTIONS, ()),
}
GLIBC = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), 20) as sock:
    sock.sendall(b"hi"); print(sock.recv(10).decode())
"""
C_ARES = """
require("dns").resolve4(process.argv[1], (error, addresses) => {
    if (error) { console.error(error.code); process.exit(1); }
    require("net").connect(7, addresses[0]).on("data", (data) => {
        console.log(data.toString()); process.exit(0); }).write("hi");
});
"""
JAVA = """
import java.net.Socket;
class Ask {
    public static void main(String[] words) throws Exception {
        try (var socket = new Socket(words[0], 7)) {
            socket.getOutputStream().write("hi".getBytes());
            System.out.println(new String(socket.getInputStream().readNBytes(2)));
        }
    }
}
"""
CLIENTS = {
    "glibc": ("/usr/bin/python3", "-c", GLIBC, "{host}"),
    "musl": ("/opt/resolving", "{host}"),
    "c-ares": ("/usr/bin/node", "-e", C_ARES, "{host}"),
    "java": ("java", "-XX:TieredStopAtLevel=1", "Ask.java", "{host}"),
    "go": ("env", "GODEBUG=netdns=go", "hey", "-n", "1", "-c", "1", "http://{host}/hi"),
    "bind": ("dig", "+short", "+search", "+tries=1", "{host}", "A"),
}
FINDS = {"go": "[200]", "bind": "198.1"}
# These look a name up as resolv.conf says; c-ares' resolve4 and HTTP's Host do not.
SEARCHING = ("glibc", "musl", "java", "bind")
POLICY = f"""version: 1
network_policies:
  lab:
    endpoints: [{{host: echo.{ZONE}, ports: [7, 80]}}]
    binaries:
      - {{path: /usr/bin/python3.11}}
      - {{path: /opt/resolving}}
      - {{path: /usr/bin/node}}
      - {{path: /usr/lib/jvm/java-17-openjdk-amd64/bin/java}}
      - {{path: /usr/bin/hey}}
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /lib64, /bin, /etc, /proc, /dev/urandom, /opt]
  read_write: [/dev/null]
"""


@pytest.fixture(scope="module")
def musl_program(tmp_path_factory):
    made = tmp_path_factory.mktemp("musl") / "resolving"
    subprocess.run(["musl-gcc", "-static", "-o", made, SOURCE], check=True)
    return made


@pytest.fixture(
    scope="module",
    params=[USER_NAMESPACE, pytest.param(POD, marks=pytest.mark.nightly)],
    ids=lambda form: form.name,
)
def form(request):
    return request.param


@pytest.fixture(scope="module", params=FILES)
def ends(request, form, upstreams, musl_program, tmp_path_factory):
    """How every client ended, by client and host."""
    text, arguments = FILES[request.param]
    directory = tmp_path_factory.mktemp("resolvers")
    resolv_conf = directory / "resolv.conf"
    resolv_conf.write_text(text)
    hosts = [f"echo.{ZONE}", f"unnamed.{ZONE}", "echo"]
    commands = {
        f"{client} {host}": [word.replace("{host}", host) for word in words]
        for client, words in CLIENTS.items()
        for host in hosts
    }
    workspace = arrange(commands, directory=directory, files={"Ask.java": JAVA})
    owned_workspace(directory / "workspace")
    with upstreams.attached() as attached:
        done = run_in_form(
            replace(form, arguments=(*form.arguments, *arguments)),
            *COMMAND,
            policy=POLICY,
            directory=directory,
            network=f"--network={attached}",
            options=(workspace, f"--volume={resolv_conf}:/etc/resolv.conf:ro"),
            mounted=(
                Mount(source=RUNNER, target="/opt/runner.py"),
                Mount(source=musl_program, target="/opt/resolving"),
            ),
        )
    return request.param, outcome_of(done).ends


def is_reached(client, end):
    sign = FINDS.get(client, "hi")
    return any(line.strip().startswith(sign) for line in end.output.splitlines())


@pytest.mark.parametrize("client", CLIENTS)
def test_an_allowed_name_is_found_and_reached(ends, client):
    _, found = ends
    end = found[f"{client} echo.{ZONE}"]

    assert is_reached(client, end)
    assert end.status == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_name_is_told_as_one_that_does_not_exist(ends, client):
    _, found = ends
    end = found[f"{client} unnamed.{ZONE}"]

    assert not is_reached(client, end)
    assert end.status is not None  # nobody waits for an answer that does not come


@pytest.mark.parametrize("client", SEARCHING)
def test_a_short_name_is_what_the_search_list_makes_of_it(ends, client):
    resolv_conf, found = ends
    end = found[f"{client} echo"]

    assert is_reached(client, end) == (resolv_conf == "kubernetes"), end.output
