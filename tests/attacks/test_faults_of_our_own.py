"""Errors that nobody expected: told with code, cause and remedy, and closed.

The faults are real: a running process is left without descriptors.
"""

import contextlib
import itertools
import os
import resource
import socket

import psutil
import pytest
from support.fences import as_user
from support.forms import POD, USER_NAMESPACE
from support.processes import children, status_of
from support.trying import sandbox

from supervisor.identity.inputs import HELPER_IDS


def told(running_sandbox, name):
    """The only event of this name: with a code, a cause and a remedy."""
    event = running_sandbox.await_event(name)[0]
    assert all(event[key] for key in ("code", "cause", "remedy"))
    return event


def assert_no_bare_traceback(running_sandbox):
    assert "Traceback" not in running_sandbox.container.logs().stderr


def helper(running_sandbox, name):
    """The process id, as this machine sees it, of a helper that has said in the log that it serves."""
    inside = next(
        one["pid"] for one in running_sandbox.await_event("helper.ready") if one["helper"] == name
    )
    for pid in children(running_sandbox.container.host_pid()):
        numbers = next(
            (line for line in status_of(pid).splitlines() if line.startswith("NSpid:")), ""
        )
        if numbers.split()[-1:] == [str(inside)] and len(numbers.split()) == 3:
            return pid
    raise AssertionError(f"no {name}")


def leave_no_descriptor(pid):
    """Those that it has stay; the next one is one too many."""
    held = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in itertools.count() if number not in held)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, free))


def take_descriptors(pid):
    """Of a process of access' user, which that user alone may do."""
    as_user(HELPER_IDS["access"], lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1)))


@pytest.mark.parametrize("form", [USER_NAMESPACE, POD], ids=lambda form: form.name)
def test_a_monitor_without_descriptors_ends_the_workload_and_says_why(upstreams, tmp_path, form):
    with sandbox(upstreams, tmp_path, form=form) as running_sandbox:
        monitor = running_sandbox.container.host_pid()
        below = [one.pid for one in psutil.Process(monitor).children(recursive=True)]
        egress = psutil.Process(running_sandbox.egress())

        leave_no_descriptor(monitor)
        # Another one needs sockets; or the next connection's owner was looked for, and it is too late.
        with contextlib.suppress(psutil.NoSuchProcess):
            egress.kill()

        # 125 where the workload could not even be looked for, and so ended with the container.
        assert running_sandbox.container.wait() in (125, 137)
        fault = told(running_sandbox, "process.fault")
        assert (fault["code"], fault["kind"]) == ("process.internal-error", "OSError")
        assert "Too many open files" in fault["cause"]
        assert any("/monitor/" in place for place in fault["trace"])
        assert told(running_sandbox, "sandbox.ended")["code"] == "monitor.internal-error"
        assert not [pid for pid in below if status_of(pid)]
        assert_no_bare_traceback(running_sandbox)


def test_a_responder_without_descriptors_is_replaced_and_its_words_are_told(upstreams, tmp_path):
    place = tmp_path / "metrics"
    place.mkdir(mode=0o755)
    with sandbox(
        upstreams, tmp_path,
        options=(f"--volume={place}:/run/metrics",), arguments=("--metrics-socket=/run/metrics/s",),
    ) as running_sandbox:  # fmt: skip
        take_descriptors(helper(running_sandbox, "responder"))

        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(place / "s"))  # that is handed on: one descriptor too many

            fault = told(running_sandbox, "helper.fault")
        assert (fault["helper"], fault["code"]) == ("responder", "monitor.helper-failed")
        assert "metrics_responder.py" in fault["cause"]
        running_sandbox.await_event("helper.restarted")
        assert_no_bare_traceback(running_sandbox)
