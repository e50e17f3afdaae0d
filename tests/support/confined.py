"""Do something as the workload would: its uid, no capability, Landlock, filter. In a forked child."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from supervisor.kernel import filters, landlock, libc, seccomp
from supervisor.startup.filesystem_rules import BaselinePath, path_rules
from supervisor.startup.landlock_ruleset import prepare

WORKLOAD = 2001
PR_SET_NO_NEW_PRIVS = 38

BASELINE = (
    *(
        BaselinePath(path, write=False, reason="programs and configuration")
        for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev/urandom")
    ),
    *(
        BaselinePath(path, write=True, reason="devices")
        for path in ("/dev/null", "/dev/zero", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm")
    ),
)


def become_workload():
    """Give up root for good."""
    os.setgroups([])
    os.setresgid(WORKLOAD, WORKLOAD, WORKLOAD)
    os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
    no_new_privs()


def no_new_privs():
    libc.check(libc.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def ruleset(*, read_only=(), read_write=(), workdir=None, nested_sandbox=False, baseline=BASELINE):
    """A ruleset's descriptor, for the given paths."""
    rules = path_rules(
        read_only=[str(path) for path in read_only],
        read_write=[str(path) for path in read_write],
        workdir=None if workdir is None else str(workdir),
        baseline=baseline,
        nested_sandbox=nested_sandbox,
    )
    return prepare(
        rules,
        compatibility="hard_requirement",
        groups=frozenset({WORKLOAD}),
        as_workload=False,
    ).ruleset


def confine(workdir, toggles=None, **paths):
    """Become exactly what the workload is, in the calling process."""
    toggles = toggles or filters.Toggles()
    rules = ruleset(workdir=workdir, nested_sandbox=toggles.nested_sandbox, **paths)
    become_workload()
    landlock.restrict_self(rules)
    os.close(rules)
    seccomp.install(filters.workload(toggles))


@contextlib.contextmanager
def workplace():
    """A directory of root's that others can pass: pytest's own are closed, again at every run."""
    with tempfile.TemporaryDirectory(prefix="sandbox-test-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def home(directory):
    """Give a directory to the workload and return the environment that names it."""
    os.chown(directory, WORKLOAD, WORKLOAD)
    return {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
    }


def run(command, cwd, environment, *, deadline_s=60):
    """Run a program in the confinement that the calling process has; return status and output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=deadline_s,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")
