"""The launch on the real kernel: what a program is after the drop, and how failures come back."""

import os
import resource

import pytest
from support.forked import CLONE_NEWNET, in_child

from supervisor.errors import Refusal
from supervisor.kernel import procfs
from supervisor.monitor import codes, steps
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch, Limit

IDENTITY = {"uid": 4242, "gid": 4343, "groups": (4545,)}


def confined(**changes) -> Confinement:
    limit = Limit(name="core", resource=resource.RLIMIT_CORE, value=0)
    return Confinement(**{**IDENTITY, "drop_privileges": True, "limits": (limit,), **changes})


def output_of(*argv: str, confinement: Confinement | None = None, **changes) -> tuple[int, str]:
    """Launch a program with its stdout on a pipe; (exit code, what it wrote)."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    what = Launch(
        **{
            "argv": argv,
            "environment": {"PATH": "/usr/bin:/bin"},
            "cwd": "/",
            "confinement": confinement or confined(),
            "monitor": os.getpid(),
            "stdio": (0, write_end, write_end),
            **changes,
        }
    )
    try:
        pid = launch(what)
    finally:
        os.close(write_end)
    with open(read_end) as pipe:
        text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def refused(*argv: str, **changes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        output_of(*argv, **changes)
    return caught.value


def status_of(**changes) -> procfs.Status:
    return in_child(
        lambda: procfs.parse_status(output_of("cat", "/proc/self/status", **changes)[1])
    )


def test_the_program_holds_nothing_but_its_identity():
    status = status_of()

    assert status.uids == (4242,) * 4
    assert status.gids == (4343,) * 4
    assert status.groups == (4545,)
    assert [status.inheritable, status.permitted, status.effective] == [0, 0, 0]
    assert [status.bounding, status.ambient] == [0, 0]
    assert status.no_new_privs


def test_groups_of_the_monitor_are_not_inherited():
    def body():
        os.setgroups([0, 27, 999])
        return procfs.parse_status(output_of("cat", "/proc/self/status")[1])

    assert in_child(body).groups == (4545,)


def test_only_three_descriptors_reach_the_program():
    def body():
        for _ in range(40):
            os.set_inheritable(os.open("/", os.O_RDONLY), True)
        return output_of("ls", "/proc/self/fd")[1].split()

    assert in_child(body) == ["0", "1", "2", "3"]  # 3 is ls' own, reading the directory


def test_ignored_and_blocked_signals_do_not_survive_exec():
    text = in_child(lambda: output_of("grep", "^Sig[BI]", "/proc/self/status")[1])

    assert {line.split(":")[1].strip() for line in text.splitlines()} == {"0" * 16}


def test_the_program_leads_its_own_session_without_a_terminal():
    code, text = in_child(lambda: output_of("ps", "-o", "sid=,pid=,tty=", "-C", "ps"))

    session, pid, terminal = text.split()
    assert (code, session, terminal) == (0, pid, "?")


def test_core_dumps_are_off_for_the_program():
    assert in_child(lambda: output_of("sh", "-c", "ulimit -Hc")) == (0, "0\n")


def test_the_umask_is_the_one_that_was_asked_for():
    def body():
        os.umask(0)
        return output_of("sh", "-c", "umask", confinement=confined(umask=0o027))

    assert in_child(body) == (0, "0027\n")


def test_the_programs_own_exit_status_comes_back():
    assert in_child(lambda: output_of("sh", "-c", "exit 37"))[0] == 37


def test_a_command_that_does_not_exist_is_not_found():
    for missing in ("/no/such", "no-such-command", "/etc/passwd/below"):
        refusal = in_child(lambda missing=missing: refused(missing).code.name)
        assert refusal == codes.NOT_FOUND.name


def test_a_file_that_is_no_program_is_not_executable():
    for path in ("/etc/passwd", "/etc"):
        assert in_child(lambda path=path: refused(path).code.name) == codes.NOT_EXECUTABLE.name


def test_a_workdir_the_identity_cannot_enter_stops_the_launch(tmp_path):
    tmp_path.chmod(0o700)

    refusal = in_child(lambda: str(refused("true", cwd=str(tmp_path))))

    assert "workdir" in refusal


def test_a_confinement_that_is_not_what_the_kernel_reports_stops_the_launch():
    def body():
        # As the identity already, but with a group that was not declared.
        os.setgroups([4545, 4646])
        os.setresgid(4343, 4343, 4343)
        os.setresuid(4242, 4242, 4242)
        return str(refused("true", confinement=confined(drop_privileges=False)))

    text = in_child(body)

    assert text.startswith(codes.READ_BACK.name)
    assert "groups" in text
    assert "CapBnd" in text


def test_an_unprivileged_monitor_launches_without_a_privileged_call():
    def body():
        for capability in range(41):
            import prctl

            prctl.capbset_drop(capability)
        os.setgroups([4545])
        os.setresgid(4343, 4343, 4343)
        os.setresuid(4242, 4242, 4242)
        return output_of("id", "-u", confinement=confined(drop_privileges=False))

    assert in_child(body) == (0, "4242\n")


@pytest.mark.parametrize("missing", ["groups", "gid", "bounding set", "uid", "no_new_privs"])
def test_the_read_back_notices_when_a_step_of_the_drop_is_left_out(missing, monkeypatch):
    """The mutation run in small; the other steps have a test of their own each."""
    kept = tuple(step for step in steps.STEPS if step.name != missing)
    monkeypatch.setattr("supervisor.monitor.launch.STEPS", kept)

    def body():
        os.setgroups([999])
        return refused("true").code.name

    assert len(kept) == len(steps.STEPS) - 1
    assert in_child(body, unshare=CLONE_NEWNET) == codes.READ_BACK.name


def test_when_the_monitor_dies_the_program_dies():
    def body():
        read_end, write_end = os.pipe()
        monitor = os.fork()
        if monitor == 0:
            os.close(read_end)
            what = Launch(
                argv=("sleep", "60"),
                environment={"PATH": "/bin"},
                cwd="/",
                confinement=confined(),
                monitor=os.getpid(),
                stdio=(0, write_end, write_end),
            )
            launch(what)
            os._exit(0)
        os.close(write_end)
        os.waitpid(monitor, 0)
        # The pipe's last writer is the program: end of file means that it is gone.
        return os.read(read_end, 1)

    assert in_child(body, deadline_s=20) == b""
