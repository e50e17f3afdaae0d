"""attacks.md L1, N2: helpers that are killed, stopped or starved; the fence stays closed."""

import contextlib
import os
import signal

import psutil
import pytest
from support.forms import POD, USER_NAMESPACE
from support.processes import status_of
from support.records import records_in
from support.sites import ZONE
from support.trying import TRYING, sandbox
from support.waiting import until

from supervisor.fence.request import Served

FORMS = (USER_NAMESPACE, POD)
EACH_FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
# More than egress has descriptors for: tunnels, each of which takes two, until one cannot be dialled;
# then clients of the proxy that say nothing, until one cannot be accepted.
CROWD = f"""
import socket
crowd = []
def crowded(address, said):
    for _ in range(300):
        sock = socket.create_connection(address, 20); crowd.append(sock)
        sock.sendall(said)
        sock.settimeout(20 if said else 0.2)
        try:
            if not sock.recv(100): return
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
    raise SystemExit("never crowded")
crowded(socket.getaddrinfo("echo.{ZONE}", 7, socket.AF_INET, socket.SOCK_STREAM)[0][4], b"hello")
crowded(("127.0.0.1", {Served().proxy}), b"")
for sock in crowd:
    sock.close()
"""


@pytest.fixture(scope="module")
def in_each_form(upstreams, tmp_path_factory):
    """Start a sandbox in each form, by the form's name: what has to be waited for is waited for in
    all of them at once.
    """

    @contextlib.contextmanager
    def start():
        with contextlib.ExitStack() as stack:
            yield {
                form.name: stack.enter_context(
                    sandbox(upstreams, tmp_path_factory.mktemp(form.name), form=form)
                )
                for form in FORMS
            }

    return start


@pytest.fixture(scope="module", params=[signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def struck(request, in_each_form):
    """The signal, and by the form's name a sandbox whose egress got it and which egress that was."""
    with in_each_form() as started:
        by_form = {name: (one, one.egress()) for name, one in started.items()}
        for _, egress in by_form.values():
            os.kill(egress, request.param)
        yield request.param, by_form


@EACH_FORM
def test_l1_egress_that_fails_is_replaced_and_the_fence_stays_closed(struck, form):
    how, by_form = struck
    running_sandbox, first = by_form[form.name]

    died = running_sandbox.await_event("helper.died")
    running_sandbox.await_event("helper.restarted")
    running_sandbox.await_try("open", "refused", "refused", "lost")

    assert died[0]["helper"] == "egress"
    assert died[0]["status"] == -signal.SIGKILL
    assert running_sandbox.egress() != first
    assert bool(running_sandbox.events("helper.fault")) == (how is signal.SIGSTOP)
    records = records_in(running_sandbox.container.logs().stderr)
    told = [one["metadata"] for one in records if one["metadata"]["log_provider"] == "egress"]
    numbers = [one["sequence"] for one in told]
    assert numbers == sorted(set(numbers))  # they go on over its lives


@pytest.fixture(scope="module")
def crashed(in_each_form):
    """By the form's name, a sandbox that ended because its egress was killed whenever there was one."""
    with in_each_form() as started:
        running = dict(started)

        def all_ended():
            for name, one in list(running.items()):
                with contextlib.suppress(AssertionError, OSError, ValueError):  # none just now
                    os.kill(one.egress(), signal.SIGKILL)
                if one.events("sandbox.ended"):
                    del running[name]
            return not running

        until(all_ended, lambda: [one.container.logs() for one in running.values()])
        yield started


@EACH_FORM
def test_l1_a_crash_loop_ends_the_workload_with_its_cause(crashed, form):
    running_sandbox = crashed[form.name]

    (ended,) = running_sandbox.events("sandbox.ended")
    assert running_sandbox.container.wait() == ended["status"] != 0
    assert ended["code"] == "monitor.egress-crash-loop"
    assert running_sandbox.events("helper.gave-up")


@EACH_FORM
def test_l1_the_end_of_the_monitor_is_the_end_of_the_workload(upstreams, tmp_path, form):
    with sandbox(upstreams, tmp_path, form=form) as running_sandbox:
        monitor = running_sandbox.container.host_pid()
        below = [child.pid for child in psutil.Process(monitor).children(recursive=True)]

        os.kill(monitor, signal.SIGKILL)
        running_sandbox.container.wait()

        assert not [pid for pid in below if "State:\tR" in status_of(pid)]


@EACH_FORM
def test_n2_egress_without_descriptors_sheds_says_so_and_recovers(upstreams, tmp_path, form):
    """attacks.md N2: it may have no more than the container, which is few here."""
    options = ("--ulimit=nofile=256:256", "--ulimit=nproc=32768:32768")
    with sandbox(
        upstreams, tmp_path, form=form, options=options, script=CROWD + TRYING
    ) as running_sandbox:
        running_sandbox.await_try("open", "refused", "refused", "kept")

        assert running_sandbox.await_event("egress.shed")[0]["cause"] == "Too many open files"
        refused = {one["code"]: one["cause"] for one in running_sandbox.events("egress.refused")}
        assert refused["egress.overloaded"] == "Too many open files"
        assert not running_sandbox.events("helper.died")
