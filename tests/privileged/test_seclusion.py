"""The workload's own processes and mounts, and launches into them, on the real kernel."""

import os
import signal
import time

from support.forked import CLONE_NEWUSER, in_child

from supervisor.kernel import prctl, procfs
from supervisor.kernel.namespaces import CLONE_NEWNS, CLONE_NEWPID
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.startup.seclusion import Seclusion, seclude


def confinement(made: Seclusion) -> Confinement:
    return Confinement(
        uid=4242,
        gid=4242,
        groups=(),
        drop_privileges=True,
        namespaces=((made.mount, CLONE_NEWNS), (made.pid, CLONE_NEWPID)),
    )


def start(made: Seclusion, *argv: str, stdout: int = 1) -> int:
    what = Launch(
        argv=argv,
        environment={"PATH": "/usr/bin:/bin"},
        cwd="/",
        confinement=confinement(made),
        monitor=os.getpid(),
        stdio=(0, stdout, 2),
    )
    return launch(what)


def output_of(made: Seclusion, *argv: str) -> tuple[int, str]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = start(made, *argv, stdout=write_end)
    os.close(write_end)
    with open(read_end) as pipe:
        text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def secluded(body):
    """Run ``body(seclusion)`` in a child that is a subreaper, as the monitor is."""

    def child():
        prctl.set_child_subreaper()
        made = seclude(None)
        try:
            return body(made)
        finally:
            if made.init is not None:
                os.kill(made.init, signal.SIGKILL)

    return in_child(child)


def test_the_program_sees_its_own_processes_only():
    code, text = secluded(lambda made: output_of(made, "sh", "-c", "echo $$; ls /proc; exit 7"))

    pid, *names = text.split()
    shown = {name for name in names if name.isdigit()}
    assert code == 7
    assert shown - {"1", pid} != shown
    assert len(shown) <= 3


def test_the_exact_status_reaches_the_monitor():
    killed = secluded(lambda made: output_of(made, "sh", "-c", "kill -KILL $$")[0])
    exited = secluded(lambda made: output_of(made, "sh", "-c", "exit 255")[0])

    assert (killed, exited) == (-signal.SIGKILL, 255)


def test_killing_the_init_ends_every_process():
    def body(made):
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        pid = start(
            made, "sh", "-c", "setsid sleep 299 & setsid sleep 298 & wait", stdout=write_end
        )
        os.close(write_end)
        os.kill(made.init, signal.SIGKILL)
        # The pipe's last writer ends with the last process.
        return os.read(read_end, 1), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert secluded(body) == (b"", -signal.SIGKILL)


def test_the_init_keeps_no_privilege_and_no_descriptor():
    def body(made):
        status = procfs.read_status(made.init)
        return status, os.listdir(f"/proc/{made.init}/fd"), os.getpid()

    # The filter comes last: give it until the listing shows that the rest is done.
    def settled(made):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            status, descriptors, _ = body(made)
            if status.seccomp == 2:
                return status, descriptors
        raise AssertionError(body(made))

    status, descriptors = secluded(settled)
    assert status.uids == (65534,) * 4
    assert (status.effective, status.permitted, status.no_new_privs) == (0, 0, True)
    assert descriptors == ["0"]


def test_orphans_of_the_workload_are_reaped():
    def body(made):
        # Each inner shell ends before its child: the child then is the init's to reap.
        script = "for i in 1 2 3; do (sleep 0.05 &) ; done; sleep 0.5; ls /proc"
        return output_of(made, "sh", "-c", script)[1].split()

    assert len([name for name in secluded(body) if name.isdigit()]) <= 3


def test_the_namespace_ends_with_the_monitor():
    def body():
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        monitor = os.fork()
        if monitor == 0:
            os.close(read_end)
            prctl.set_child_subreaper()
            start(seclude(None), "sh", "-c", "setsid sleep 297 & wait", stdout=write_end)
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(write_end)
        os.waitpid(monitor, 0)
        return os.read(read_end, 1)

    assert in_child(body, deadline_s=20) == b""


def test_dev_shm_is_its_own():
    def body(made):
        with open("/dev/shm/sandbox-test-outside", "w"):
            pass
        try:
            return output_of(made, "ls", "/dev/shm")
        finally:
            os.unlink("/dev/shm/sandbox-test-outside")

    assert secluded(body) == (0, "")


def test_in_a_user_namespace_what_cannot_be_had_is_named():
    def body():
        prctl.set_child_subreaper()
        made = seclude(None)
        return made.pid, dict(made.lacking)

    pid, lacking = in_child(body, unshare=CLONE_NEWUSER)
    # Without mapped ids nothing can be mounted at all; what matters is that it is said.
    assert (pid is None) == ("pid-namespace" in lacking)
