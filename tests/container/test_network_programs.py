"""Programs of every day, with no proxy variable set: what policy names works, the rest is refused.

One container for each form runs them all, each program three times: to its own host; to a host
that no rule names; to a host that another program may reach.
"""

import pytest
from support.acceptance import PROGRAMS as PROGRAMS_IMAGE
from support.acceptance import run_commands, run_commands_rootless
from support.forms import POD, SIDECAR, SIX_CAPABILITIES, SYS_ADMIN, UNPRIVILEGED, USER_NAMESPACE
from support.rootless import rootless
from support.sites import ZONE

JAVA = """
import java.net.URI;
import java.net.http.*;

class Fetch {
    public static void main(String[] words) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(words[0])).build();
        var client = HttpClient.newHttpClient();
        var reply = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(reply.body());
        System.exit(reply.statusCode() == 200 ? 0 : 1);
    }
}
"""
NODE = """
fetch(process.argv[1]).then((reply) => reply.text()).then(console.log)
    .catch((error) => { console.error(error.cause.message); process.exit(1); });
"""
TRUST = ("env", "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt")
PIP = ("pip", "download", "--no-deps", "--no-cache-dir", "--retries=0", "--dest={work}")
APT = (
    "TMPDIR={work}", "apt-get", "update", "--error-on=any", "-oDir::State={work}",
    "-oDir::State::status={work}/status", "-oDir::Cache={work}", "-oAcquire::Retries=0",
    "-oDir::Etc::SourceParts=-", "-oDir::Etc::SourceList={work}/list",
)  # fmt: skip
# By program: the executable that policy names, the label of its host, its ports, and the command
# with {host} for the host and {work} for a directory of its own.
PROGRAMS = {
    "curl": ("/usr/bin/curl", "echo", (443,), ("curl", "-sS", "--fail-with-body", "https://{host}/hi")),
    "curl-http": ("/usr/bin/curl", "echo", (80,), ("curl", "-sS", "--fail-with-body", "http://{host}/hi")),
    "pip": (
        "/usr/bin/python3.11", "pypi", (443,), (*PIP, "--index-url=https://{host}/simple", "tiny"),
    ),
    "npm": (
        "/usr/bin/node", "npm", (443,),
        (*TRUST, "npm", "view", "--fetch-retries=0", "--registry=https://{host}/", "tiny", "version"),
    ),
    "apt": (
        "/usr/lib/apt/methods/http", "deb", (80,),
        ("sh", "-ec", "mkdir -p {work}/lists/partial {work}/archives/partial; touch {work}/status; "
         "echo deb [trusted=yes] http://{host}/debian stable main > {work}/list; " + " ".join(APT)),
    ),
    "git": (
        "/usr/lib/git-core/git-remote-http", "git", (80, 443),
        ("sh", "-ec", "git clone -q http://{host}/tool.git {work} && cat {work}/README"),
    ),
    "git-tls": (
        "/usr/lib/git-core/git-remote-http", "git", (80, 443),
        ("sh", "-ec", "git clone -q https://{host}/tool.git {work} && cat {work}/README"),
    ),
    "node": ("/usr/bin/node", "echo", (443,), (*TRUST, "node", "-e", NODE, "https://{host}/hi")),
    "java": (
        "/usr/lib/jvm/java-17-openjdk-amd64/bin/java", "echo", (80,),
        ("java", "-XX:TieredStopAtLevel=1", "Fetch.java", "http://{host}/hi"),
    ),
    "psql": (
        "/usr/lib/postgresql/15/bin/psql", "db", (5432,),
        ("psql", "-h", "{host}", "-U", "agent", "-d", "postgres", "-Atc", "select 6 * 7"),
    ),
    "ssh": ("/usr/bin/ssh-keyscan", "ssh", (22,), ("sh", "-c", "ssh-keyscan -T 5 {host} 2>&1 | tee /dev/stderr | grep -qm1 standin"),
    ),
}  # fmt: skip
WORKS = {
    "curl": '"path": "/hi"', "curl-http": '"path": "/hi"', "pip": "Saved", "npm": "1.2.3",
    "apt": "Reading package lists", "git": "hello from upstream", "git-tls": "hello from upstream",
    "node": '"path": "/hi"', "java": '"path": "/hi"', "psql": "42", "ssh": "SSH-2.0-standin",
}  # fmt: skip
# What each program says about a name that does not exist for it, and about a refused connection.
SAYS = {
    "curl": ("Could not resolve host", "alert access denied"),
    "curl-http": ("Could not resolve host", '"code": "policy.binary-not-allowed"'),
    "pip": ("No matching distribution", "alert access denied"),
    "npm": ("ENOTFOUND", "alert access denied"),
    "apt": ("Could not resolve", "403  Forbidden"),
    "git": ("Could not resolve host", "returned error: 403"),
    "git-tls": ("Could not resolve host", "Access was denied"),
    "node": ("ENOTFOUND", "alert access denied"),
    "java": ("UnresolvedAddressException", '"code": "policy.binary-not-allowed"'),
    "psql": ("Name or service not known", "closed the connection"),
    "ssh": ("Name or service not known", ""),
}
UNNAMED, FOREIGN = f"unnamed.{ZONE}", f"other.{ZONE}"


def endpoint(label, ports):
    protocol = ", protocol: tcp" if label == "db" else ""
    return f"{{host: {label}.{ZONE}, ports: {list(ports)}{protocol}}}"


def policy():
    entries = [
        f"  {name}:\n    endpoints: [{endpoint(label, ports)}]\n    binaries: [{{path: {binary}}}]"
        for name, (binary, label, ports, _) in PROGRAMS.items()
    ]
    every = sorted({port for _, _, ports, _ in PROGRAMS.values() for port in ports})
    entries.append(
        f"  foreign:\n    endpoints: [{endpoint('other', every)}]\n"
        "    binaries: [{path: /usr/bin/wget}]"
    )
    return "\n".join(["version: 1", "network_policies:", *entries, ""])


def commands():
    made = {"environment": ("env",)}
    for name, (_, label, _, argv) in PROGRAMS.items():
        for kind, host in (("own", f"{label}.{ZONE}"), ("unnamed", UNNAMED), ("foreign", FOREIGN)):
            filled = [
                word.replace("{host}", host).replace("{work}", f"/sandbox/{name}-{kind}")
                for word in argv
            ]
            made[f"{name} {kind}"] = filled
    return made


@pytest.fixture(scope="module")
def upstreams(upstreams):
    upstreams.start_database()
    return upstreams


@pytest.fixture(
    scope="module",
    params=[
        USER_NAMESPACE,
        SIX_CAPABILITIES,
        POD,
        SIDECAR,
        pytest.param(SYS_ADMIN, marks=pytest.mark.nightly),
        pytest.param(UNPRIVILEGED, marks=pytest.mark.nightly),
        pytest.param(None, id="rootless"),
    ],
    ids=lambda form: form.name,
)
def outcome(request, upstreams, tmp_path_factory):
    if request.param is None:
        with rootless(upstreams.outside) as podman:
            podman.load([PROGRAMS_IMAGE])
            return run_commands_rootless(
                commands(),
                upstreams=upstreams,
                podman=podman,
                policy=policy(),
                files={"Fetch.java": JAVA},
            )
    return run_commands(
        commands(),
        upstreams=upstreams,
        form=request.param,
        policy=policy(),
        directory=tmp_path_factory.mktemp("programs"),
        files={"Fetch.java": JAVA},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_reaches_the_host_that_policy_names_for_it(outcome, program):
    end = outcome.ends[f"{program} own"]

    assert WORKS[program] in end.output
    assert end.status == 0
    binary, label, _, _ = PROGRAMS[program]
    assert any(
        binary in event["binaries"] for event in outcome.of("egress.opened", host=f"{label}.{ZONE}")
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_name_in_no_rule_does_not_exist_for_a_program(outcome, program, upstreams):
    end = outcome.ends[f"{program} unnamed"]

    assert SAYS[program][0] in end.output
    assert end.status != 0
    assert not [asked for asked, _ in upstreams.nameserver.asked if UNNAMED in asked]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_refused_another_programs_host_and_told_so(outcome, program):
    end = outcome.ends[f"{program} foreign"]

    assert SAYS[program][1] in end.output
    assert end.status != 0
    binary, _, ports, _ = PROGRAMS[program]
    refused = [
        event
        for event in outcome.of("egress.refused", host=FOREIGN, rule="foreign")
        if binary in event["binaries"] and event["port"] in ports
    ]
    assert refused
    assert {event["code"] for event in refused} == {"policy.binary-not-allowed"}
    assert all("binaries of the entry" in event["remedy"] for event in refused)


def test_what_is_refused_never_arrives(outcome, upstreams):
    assert not outcome.of("egress.opened", host=FOREIGN)
    assert {UNNAMED, FOREIGN}.isdisjoint(request.host for request in upstreams.requests)
    assert f"echo.{ZONE}" in {request.host for request in upstreams.requests}


def test_no_program_was_given_a_proxy(outcome):
    assert "proxy" not in outcome.ends["environment"].output.lower()
