"""A corporate proxy and name servers on argv, in a real container."""

import pytest
from support.acceptance import POLICY_FILE, PROGRAMS, write_policy
from support.records import events_of
from support.sandbox import refusal_of, sandboxed
from support.sites import ZONE
from support.upstream_proxies import PORT, StandInProxy
from support.upstreams import SERVER, open_upstreams

HOST = f"echo.{ZONE}"
POLICY = f"""version: 1
network_policies:
  echo:
    endpoints: [{{host: {HOST}, ports: [80, 443]}}]
    binaries: [{{path: /usr/bin/curl}}]
"""
CREDENTIALS = "/run/upstream/credentials"
FETCH = f"curl -sS --fail-with-body http://{HOST}/hi && curl -sS --fail-with-body https://{HOST}/hi"


@pytest.fixture
def upstreams():
    """One for each test: each has a proxy of its own at the same port, or other name servers."""
    with open_upstreams() as made:
        yield made


def credentials(tmp_path, *, mode=0o400, text="jo:hunter2\n"):
    place = tmp_path / "secret"
    place.mkdir()
    (place / "credentials").write_text(text)
    (place / "credentials").chmod(mode)
    return f"--volume={place}:/run/upstream:ro"


def fetched(tmp_path, upstreams, *arguments, script=FETCH, options=()):
    mounted = write_policy(tmp_path, POLICY)
    with upstreams.attached() as network:
        return sandboxed(
            "sh",
            "-c",
            script,
            image=PROGRAMS,
            arguments=(f"--policy={POLICY_FILE}", *arguments),
            options=(*upstreams.options(network), mounted, *options),
        )


def test_everything_goes_through_the_proxy_with_credentials_that_the_workload_never_sees(
    tmp_path, upstreams
):
    proxy = StandInProxy(upstreams, where=SERVER)
    script = f"{FETCH}; echo; cat {CREDENTIALS}; env"
    done = fetched(
        tmp_path,
        upstreams,
        f"--upstream-proxy=http://{SERVER}:{PORT}",
        f"--upstream-proxy-credentials={CREDENTIALS}",
        script=script,
        options=(credentials(tmp_path),),
    )
    assert done.stdout.count('"path": "/hi"') == 2, done
    asked = [head.split(" ")[1] for head in proxy.heads]
    assert asked == [f"{SERVER}:80", f"{SERVER}:443"]
    assert all("Proxy-Authorization: Basic am86aHVudGVyMg==\r\n" in head for head in proxy.heads)
    assert "Permission denied" in done.stderr
    assert "hunter2" not in done.output
    assert "am86aHVudGVyMg" not in done.output
    (told,) = [e for e in events_of(done.stderr) if e.get("event") == "egress.upstream"]
    assert (told["proxy"], told["asked_for"]) == (f"{SERVER}:{PORT}", "checked addresses")
    assert told["has_credentials"]


def test_what_no_proxy_names_goes_directly(tmp_path, upstreams):
    proxy = StandInProxy(upstreams, where=SERVER)
    done = fetched(
        tmp_path,
        upstreams,
        f"--upstream-proxy=http://{SERVER}:{PORT}",
        f"--no-proxy=.elsewhere.example,{HOST}:443",
    )
    assert done.stdout.count('"path": "/hi"') == 2, done
    assert [head.split(" ")[1] for head in proxy.heads] == [f"{SERVER}:80"]


def test_by_name_is_said_in_the_report(tmp_path, upstreams):
    proxy = StandInProxy(upstreams, where=SERVER, names={f"{HOST}:80": f"{SERVER}:80"})
    done = fetched(
        tmp_path,
        upstreams,
        f"--upstream-proxy=http://{SERVER}:{PORT}",
        "--upstream-proxy-names",
        script=f"curl -sS --fail-with-body http://{HOST}/hi",
    )
    assert '"path": "/hi"' in done.stdout, done
    assert [head.split(" ")[1] for head in proxy.heads] == [f"{HOST}:80"]
    started = next(event for event in events_of(done.stderr) if event["event"] == "sandbox.started")
    assert any("is its to check" in warning for warning in started["report"]["warnings"])
    assert upstreams.nameserver.asked == []


def test_name_servers_on_argv_take_the_place_of_the_containers(tmp_path, upstreams):
    upstreams.resolv_conf.write_text("nameserver 192.0.2.99\noptions timeout:1 attempts:1\n")
    done = fetched(tmp_path, upstreams, f"--resolver={SERVER}")
    assert done.stdout.count('"path": "/hi"') == 2, done


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--upstream-proxy=https://proxy.example:3128",), "upstream.proxy-invalid"),
        (("--upstream-proxy=",), "upstream.proxy-invalid"),
        (("--no-proxy=a.example",), "upstream.without-proxy"),
        (("--upstream-proxy=http://p.example:1", "--no-proxy=*"), "upstream.no-proxy-invalid"),
        (("--resolver=dns.example",), "upstream.resolver-invalid"),
        (
            ("--upstream-proxy=http://p.example:1", "--upstream-proxy-credentials=/run/none"),
            "upstream.credentials-missing",
        ),
        (
            ("--upstream-proxy=http://p.example:1", "--upstream-proxy-credentials=/etc/shadow"),
            "upstream.credentials-untrusted",
        ),
    ],
)
def test_a_setting_without_meaning_stops_the_start(arguments, code):
    done = sandboxed("true", arguments=arguments)
    assert done.returncode == 125
    assert refusal_of(done)["code"] == code


@pytest.mark.parametrize(
    ("mode", "text", "code"),
    [
        (0o440, "jo:hunter2", "upstream.credentials-untrusted"),
        (0o404, "jo:hunter2", "upstream.credentials-untrusted"),
        (0o420, "jo:hunter2", "upstream.credentials-untrusted"),
        (0o400, "hunter2", "upstream.credentials-invalid"),
        (0o400, "jo:hunter2" * 200, "upstream.credentials-invalid"),
    ],
)
def test_credentials_that_others_could_read_or_that_are_none_stop_the_start(
    tmp_path, mode, text, code
):
    done = sandboxed(
        "true",
        arguments=(
            "--upstream-proxy=http://p.example:1",
            f"--upstream-proxy-credentials={CREDENTIALS}",
        ),
        options=(credentials(tmp_path, mode=mode, text=text),),
    )
    assert (done.returncode, refusal_of(done)["code"]) == (125, code)
    assert "hunter2" not in done.output
