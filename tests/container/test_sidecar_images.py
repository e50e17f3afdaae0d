"""The agent's container of a sidecar pod with images of every kind: another libc, none, hostile."""

import pytest
from support.sandbox import wait_for_event
from support.sidecar_pod import NAME, PORT, UID, sidecar_pod

IMAGE = "localhost/sandbox-test"
FETCH = ("wget", "-q", "-O", "-", f"http://{NAME}:{PORT}/")
# By name: the image, the agent's command, and what it prints.
AGENTS = {
    "debian": (f"{IMAGE}/debian", ("/hello", "there"), "hello there\n"),
    "musl": (f"{IMAGE}/musl", ("/hello", "there"), "hello there\n"),
    "scratch": (f"{IMAGE}/scratch", ("/hello", "there"), "hello there\n"),
    "busybox": (f"{IMAGE}/busybox", ("/bin/sh", "-c", "id -u"), f"{UID}\n"),
    "busybox-network": (f"{IMAGE}/busybox", ("/bin/busybox", *FETCH), "upstream"),
    "hostile": (f"{IMAGE}/hostile", ("/usr/bin/hello", "there"), "hello there\n"),
}


# One of each kind every day: no libc, its own libc, hostile; the rest are nearly the same again.
DAILY = ("scratch", "busybox-network", "hostile")


@pytest.mark.parametrize(
    "agent",
    [pytest.param(name, marks=() if name in DAILY else pytest.mark.nightly) for name in AGENTS],
)
def test_the_agents_image_need_have_nothing_but_its_program(tmp_path, agent):
    image, command, printed = AGENTS[agent]
    with sidecar_pod(tmp_path) as pod:
        pod.net_init().checked()
        sidecar = pod.sidecar()
        container = pod.agent(*command, image=image)

        assert (container.wait(), sidecar.wait()) == (0, 0), container.logs()
        said = container.logs()
        report = wait_for_event(container, "sandbox.started")["report"]

    assert said.stdout == printed
    assert "EVIL" not in said.output
    states = {control["name"]: control["state"] for control in report["controls"]}
    assert {states[name] for name in ("privileges", "network", "files", "system calls")} == {
        "enforced"
    }
    assert len(pod.upstream.heard) == ("network" in agent)
