"""The static launcher alone: what it hands to the program that it becomes.

A script stands where the runtime's loader would and reports what it was started with.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

REPORT = """#!/usr/bin/python3.11 -IS
import json, os, sys

def status(name):
    with open("/proc/self/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(name))

with open("/proc/self/environ", "rb") as block:
    given = block.read().decode("utf-8", "surrogateescape").split("\\0")[:-1]
descriptors = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{fd}")}
print(json.dumps({"argv": sys.argv, "environment": given, "fds": descriptors,
                  "blocked": int(status("SigBlk"), 16), "ignored": int(status("SigIgn"), 16)}))
"""
FORWARDED = {
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
}

# strace answers instead of the kernel: what Linux before 5.9 says
UNSUPPORTED = ("strace", "-o", "/dev/null", "-e", "inject=close_range:error=ENOSYS")


@pytest.fixture
def tree(runtime_dir, tmp_path):
    """A tree with the real launchers and the reporting script."""
    return make_tree(runtime_dir, tmp_path / "tree")


def make_tree(runtime_dir, path):
    for name in ("bin", "lib"):
        (path / name).mkdir(parents=True)
    shutil.copy(runtime_dir / "sandbox-supervisor", path)
    shutil.copy(runtime_dir / "bin/python3", path / "bin")
    script = path / "lib/sandbox-supervisor"
    script.write_text(REPORT)
    script.chmod(0o755)
    return path


def started(program, *arguments, environment=None, **options):
    done = subprocess.run(
        [program, *arguments],
        env={} if environment is None else environment,
        stdout=subprocess.PIPE,
        timeout=30,
        **options,
    )
    assert done.returncode == 0
    return json.loads(done.stdout)


def variables(report):
    return dict(pair.split("=", 1) for pair in report["environment"])


def blocked_signals(report):
    return {number for number in signal.Signals if report["blocked"] >> (number - 1) & 1}


def test_it_becomes_the_trees_own_loader_with_the_isolation_flags(tree):
    report = started(tree / "sandbox-supervisor", "run", "--", "a b", "")

    assert report["argv"] == [
        *(f"{tree}/lib/sandbox-supervisor", "--inhibit-cache", "--library-path", f"{tree}/lib"),
        *("--argv0", f"{tree}/bin/python3", f"{tree}/lib/python3.elf"),
        *("-I", "-S", "-B", "-X", "utf8", "--check-hash-based-pycs", "never"),
        *(f"{tree}/app/main.py", "run", "--", "a b", ""),
    ]


def test_every_variable_is_renamed_even_one_that_is_named_like_a_renamed_one(tree):
    environment = {"PATH": "/bin", "LD_PRELOAD": "/evil.so", "@SANDBOX_UID": "0", "EMPTY": ""}

    report = started(tree / "sandbox-supervisor", environment=environment)

    found = variables(report)
    assert {name: found[f"@{name}"] for name in environment} == environment
    assert "@SANDBOX_UID" not in found
    ours = {name for name in found if not name.startswith("@")}
    assert ours == {
        *("SUPERVISOR_LAUNCHED", "PATH", "LC_ALL", "TZ", "TZDIR", "GCONV_PATH", "OPENSSL_CONF"),
        *("OPENSSL_MODULES", "OPENSSL_ENGINES", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }


def test_bytes_that_are_no_text_pass_through(tree):
    report = started(tree / "sandbox-supervisor", environment={b"NAME\xff": b"\xfe"})

    assert os.fsencode(variables(report)["@NAME\udcff"]) == b"\xfe"


def test_the_forwarded_signals_are_blocked_and_no_other(tree):
    assert blocked_signals(started(tree / "sandbox-supervisor")) == FORWARDED


@pytest.mark.parametrize("fault", [(), UNSUPPORTED], ids=["close_range", "old kernel"])
def test_no_further_descriptor_reaches_the_interpreter(tree, fault):
    near, far = os.open("/", os.O_RDONLY), fcntl.fcntl(0, fcntl.F_DUPFD, 500)
    try:
        report = started(*fault, tree / "sandbox-supervisor", pass_fds=[near, far])
    finally:
        os.close(near)
        os.close(far)

    # the script's own source is open while it is interpreted
    paths = {fd: path for fd, path in report["fds"].items() if not path.startswith(f"{tree}/")}
    assert set(paths) == {"0", "1", "2"}


def test_missing_standard_descriptors_are_opened(tree):
    report = started(tree / "sandbox-supervisor", preexec_fn=lambda: os.closerange(2, 3))

    assert report["fds"]["2"] == "/dev/null"


@pytest.mark.parametrize("character", [":", ";", "$"])
def test_a_path_that_the_loader_would_split_or_expand_is_refused(runtime_dir, tmp_path, character):
    tree = make_tree(runtime_dir, tmp_path / f"a{character}b")

    done = subprocess.run([tree / "sandbox-supervisor"], capture_output=True, text=True)

    assert done.returncode == 125
    assert "cannot stand at a path with" in done.stderr


def test_a_missing_loader_is_named(tree):
    (tree / "lib/sandbox-supervisor").unlink()

    done = subprocess.run([tree / "sandbox-supervisor"], capture_output=True, text=True)

    assert done.returncode == 125
    assert f"{tree}/lib/sandbox-supervisor: No such file" in done.stderr


def test_the_bare_interpreter_keeps_what_its_caller_chose(tree):
    first = started(tree / "sandbox-supervisor", environment={"PATH": "/bin", "NAME": "value"})
    read_end, write_end = os.pipe()

    report = started(
        tree / "bin/python3", "-c", "x", environment=variables(first), pass_fds=[read_end]
    )

    os.close(read_end)
    os.close(write_end)
    assert variables(report) == variables(first)
    assert len(report["environment"]) == len(first["environment"])
    assert str(read_end) in report["fds"]
    assert blocked_signals(report) == set()
    assert report["argv"][-3:] == ["never", "-c", "x"]


def test_the_launchers_need_no_loader(runtime_dir):
    for name in ("sandbox-supervisor", "bin/python3"):
        described = subprocess.run(
            ["readelf", "--program-headers", "--dynamic", runtime_dir / name],
            capture_output=True,
            text=True,
        )
        assert "INTERP" not in described.stdout
        assert "NEEDED" not in described.stdout
    assert Path(runtime_dir / "lib/python3.elf").stat().st_mode & 0o111 == 0
