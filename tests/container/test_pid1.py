"""PID 1's duties in a real container: signals, grace, orphans, exit statuses, terminal."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

import psutil
import pytest
from support.podman import environment as podman_environment
from support.records import events_of
from support.sandbox import (
    AS_4242,
    DEBIAN,
    ENTRYPOINT,
    RUNTIME,
    TREE,
    refusal_of,
    sandbox,
    sandboxed,
    wait_for,
)

TRAPPING = 'for s in INT TERM HUP QUIT USR1 USR2 WINCH; do trap "echo got-$s" $s; done; echo ready; while :; do sleep 0.1; done'


def ended(container) -> dict:
    """The last record of the event stream."""
    return events_of(container.logs().stderr)[-1]


@pytest.mark.parametrize("name", ["INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"])
def test_a_signal_reaches_the_workload(name):
    with sandbox("sh", "-c", TRAPPING) as container:
        wait_for(container, "ready")

        container.kill(name)

        wait_for(container, f"got-{name}")


def test_term_is_forwarded_and_the_workloads_own_status_comes_back():
    with sandbox("sh", "-c", "trap 'exit 41' TERM; echo ready; while :; do sleep 0.1; done") as c:
        wait_for(c, "ready")
        c.kill("TERM")

        assert c.wait() == 41


def test_a_term_sent_at_once_is_not_lost():
    """N5: TERM while the start is still going on, before any handler could exist."""
    with sandbox("sleep", "300", arguments=("--grace=1",)) as container:
        container.kill("TERM")

        assert container.wait() == 143


def test_a_workload_that_ignores_term_is_killed_after_the_grace_period():
    with sandbox(
        "sh", "-c", "trap '' TERM; echo ready; sleep 300", arguments=("--grace=0.5",)
    ) as c:
        wait_for(c, "ready")
        c.kill("TERM")

        assert c.wait() == 137
        assert ended(c)["code"] == "monitor.killed"


def test_a_second_term_does_not_wait_for_the_grace_period():
    with sandbox(
        "sh", "-c", "trap '' TERM; echo ready; sleep 300", arguments=("--grace=200",)
    ) as c:
        wait_for(c, "ready")
        # Two signals that nobody has read yet are one: the answer says that the loop runs.
        c.exec(ENTRYPOINT, "report").checked()
        c.kill("TERM")
        c.kill("TERM")

        assert c.wait(timeout_s=60) == 137


def test_a_signal_storm_does_not_harm():
    with sandbox("sh", "-c", TRAPPING) as container:
        wait_for(container, "ready")
        pid = container.host_pid()
        for _ in range(2000):
            os.kill(pid, 10)  # USR1
        wait_for(container, "got-USR1")
        container.kill("TERM")
        container.kill("TERM")

        assert container.wait(timeout_s=60) in (137, 143)


def test_daemons_that_forked_twice_do_not_survive_the_main_process():
    daemon = "setsid sh -c 'sleep 300 & sleep 300' & sleep 0.3; exit 5"
    with sandbox("sh", "-c", daemon, arguments=("--grace=1",)) as container:
        assert container.wait(timeout_s=60) == 5


def test_orphans_are_reaped_and_no_zombie_is_left():
    script = "for i in 1 2 3 4 5 6 7 8 9; do (true & ) ; done; sleep 0.5; cat /proc/[0-9]*/stat | grep -c ' Z ' || true"

    assert sandboxed("sh", "-c", script).checked().stdout == "0\n"


def test_the_timeout_ends_the_workload_with_124():
    result = sandboxed("sleep", "300", arguments=("--timeout=0.5", "--grace=1"))

    assert result.returncode == 124
    assert events_of(result.stderr)[-1]["code"] == "monitor.timeout"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("sh", "-c", "exit 0"), 0),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -SEGV $$"), 139),
        (("/etc/passwd",), 126),
        (("no-such-program",), 127),
    ],
)
def test_exit_statuses_are_those_of_the_table(command, status):
    assert sandboxed(*command).returncode == status


def test_the_termination_log_holds_one_line_of_cause(tmp_path):
    log = tmp_path / "log"
    log.touch()
    options = (f"--volume={log}:/dev/termination-log",)

    sandboxed("no-such-program", options=options)
    refused = json.loads(log.read_text())
    sandboxed("sh", "-c", "exit 3", options=options)
    ended_with_3 = json.loads(log.read_text())

    assert (refused["status"], refused["code"]) == (127, "launch.not-found")
    assert ended_with_3["status"] == 3


def test_the_termination_log_holds_the_report_in_short_from_the_start_to_the_end(tmp_path):
    log = tmp_path / "log"
    log.touch()
    with sandbox(
        "sh", "-c", "echo ready; sleep 300", options=(f"--volume={log}:/dev/termination-log",)
    ) as container:
        wait_for(container, "ready")
        container.exec(ENTRYPOINT, "report").checked()  # the start is over when it answers
        running = json.loads(log.read_text())

    sandboxed("true", options=(f"--volume={log}:/dev/termination-log",)).checked()
    ended = json.loads(log.read_text())

    assert running["state"] == "running"
    assert (ended["status"], "state" in ended) == (0, False)
    for said in (running["containment"], ended["containment"]):
        assert {"network", "files", "system calls", "privileges"} <= set(said["enforced"])
        assert "pid-namespace" in said["absent"]
        assert len(said["runtime"]) == len(said["policy"]) == 64
        assert (said["probes"] > 100, said["surprises"]) == (True, 0)


def test_a_supervisor_that_is_not_the_main_process_refuses():
    with sandbox("sleep", "300") as container:
        second = container.exec(ENTRYPOINT, "run", *AS_4242, "--log-format=json", "--", "id")

    # podman exec's process has its parent outside of the container, but it is not PID 1.
    assert second.returncode == 125
    assert refusal_of(second)["code"] == "monitor.not-main-process"


def test_killing_the_supervisor_kills_the_workload():
    with sandbox("sh", "-c", "echo ready; exec sleep 297") as container:
        wait_for(container, "ready")
        pid = container.host_pid()
        below = psutil.Process(pid).children(recursive=True)
        (workload,) = (one for one in below if "297" in one.cmdline())

        os.kill(pid, 9)
        container.wait(timeout_s=60)

        assert not psutil.pid_exists(workload.pid) or not workload.is_running()


class Terminal:
    """``podman run -it`` on a pseudo terminal of the test."""

    def __init__(self, *command: str) -> None:
        line = ["podman", "run", "--rm", "-it", f"--volume={RUNTIME}:{TREE}:ro"]
        line += [f"--entrypoint={ENTRYPOINT}", DEBIAN, "run", "-i", *AS_4242, "--", *command]
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            line, stdin=slave, stdout=slave, stderr=slave, env=podman_environment(), start_new_session=True
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def until(self, text: str, *, deadline_s: float = 30.0) -> None:
        end = time.monotonic() + deadline_s
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"{text!r} not in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"{text!r} not in {self.seen!r}") from None

    def type_until(self, key: str, text: str) -> None:
        """Type something again and again: the program that it is for may not be running yet, and
        a key that interrupts throws away what was typed before it.
        """
        for _ in range(60):
            self.type(key)
            if select.select([self.master], [], [], 0.5)[0]:
                self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
            if text in self.seen:
                return
        raise AssertionError(f"{text!r} not in {self.seen!r}")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


@pytest.fixture
def terminal():
    """A sandboxed shell on a terminal; ended with the test whatever happens."""
    shell = Terminal("sh")
    yield shell
    shell.process.kill()
    shell.process.wait()
    os.close(shell.master)


def test_a_terminal_has_job_control_window_size_and_interrupts(terminal):
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 101, 0, 0))
    terminal.type(
        "tty; until stty size | grep -q '33 101'; do sleep 0.1; done; echo start-$((1+1))\n"
    )
    terminal.until("start-2")
    terminal.type("echo run-$((2+3)); sleep 100\n")
    terminal.until("run-5")  # the shell has read the line: the key cannot flush it away
    # Both at once: dash's child forgets an interrupt that comes before its exec.
    terminal.type_until("\x03echo after-$((2+2))\n", "after-4")
    terminal.type("echo run-$((3+3)); sleep 100\n")
    terminal.until("run-6")  # the shell has read the line: the key cannot flush it away
    terminal.type_until("\x1a", "Stopped")
    terminal.type_until("exit 9\n", "have stopped jobs")
    terminal.type("exit 9\n")

    assert terminal.process.wait(timeout=30) == 9
    assert "/dev/pts/" in terminal.seen


def test_refusals_do_not_start_the_terminal():
    result = sandboxed("no-such-program", arguments=("-i",))

    assert refusal_of(result)["code"] == "launch.not-found"
