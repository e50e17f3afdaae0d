"""A signal that comes before a handler stands is not lost (attack N5).

PID 1 has no default actions: what is neither blocked nor handled vanishes. The program below waits
without a handler until the test has sent TERM, and only then installs one.
"""

import os
import subprocess
from contextlib import contextmanager

import pytest
from support.podman import environment, podman

LATE = """
import os, signal, sys
print("ready", flush=True)
sys.stdin.readline()
signal.signal(signal.SIGTERM, lambda *_: (print("handler ran", flush=True), os._exit(143)))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
print("TERM was lost", flush=True)
"""
RUNTIME = "/opt/sandbox-supervisor"


@contextmanager
def late_handler(runtime_dir, images, program, *command):
    """Start the program as PID 1; yields its process of podman and its container's name."""
    name = f"sandbox-test-signals-{os.getpid()}-{program.replace('/', '-')}"
    line = ["podman", "run", "--rm", "--interactive", "--sig-proxy=false", "--name", name]
    line += ["--volume", f"{runtime_dir}:{RUNTIME}:ro", "--entrypoint", f"{RUNTIME}/{program}"]
    line += [*command[:-1], images["scratch"], *command[-1]]
    started = subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert started.stdout.readline() == "ready\n"
        yield started, name
    finally:
        podman("rm", "--force", "--ignore", "--time", "0", name)
        started.communicate(timeout=30)


@pytest.fixture
def late_main(tmp_path):
    path = tmp_path / "main.py"
    path.write_text(LATE)
    return path


def end_of(started, name):
    podman("kill", "--signal", "TERM", name).checked()
    output, _ = started.communicate("go on\n", timeout=30)
    return output, started.returncode


def test_a_term_before_the_handler_is_delivered_once_it_stands(runtime_dir, images, late_main):
    mount = ("--volume", f"{late_main}:{RUNTIME}/app/main.py:ro")
    with late_handler(runtime_dir, images, "sandbox-supervisor", *mount, ()) as (started, name):
        assert end_of(started, name) == ("handler ran\n", 143)


def test_without_the_launcher_the_same_term_is_lost(runtime_dir, images):
    with late_handler(runtime_dir, images, "bin/python3", ("-c", LATE)) as (started, name):
        assert end_of(started, name) == ("TERM was lost\n", 0)
