"""Each Landlock right on this kernel: the act is refused outside, and works inside (B5–B9, D1, D2)."""

import errno
import fcntl
import os
import pty
import signal
import socket
import struct
import termios
from pathlib import Path

import pytest
from support.confined import WORKLOAD, become_workload, ruleset, workplace
from support.forked import in_child

from supervisor.errors import Refusal
from supervisor.kernel import landlock
from supervisor.kernel.libc import SyscallError
from supervisor.kernel.mount import mount
from supervisor.startup.filesystem_rules import path_rules
from supervisor.startup.landlock_ruleset import prepare


@pytest.fixture
def root():
    with workplace() as directory:
        yield directory


@pytest.fixture
def places(root):
    """Two directories of the workload, open and closed, filled alike."""
    for name in ("open", "closed"):
        place = root / name
        place.mkdir()
        (place / "dir").mkdir()
        (place / "dir" / "inner").mkdir()
        (place / "empty").mkdir()
        (place / "file").write_text("content")
        program = place / "program"
        program.write_bytes(Path("/bin/true").read_bytes())
        program.chmod(0o755)
        for path in (place, *place.rglob("*")):
            os.chown(path, WORKLOAD, WORKLOAD)
    return root


def attempt(function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except OSError as error:
        return error.errno
    return 0


def confined(function, **paths):
    rules = ruleset(**paths)

    def child():
        become_workload()
        landlock.restrict_self(rules)
        return function()

    try:
        return in_child(child)
    finally:
        os.close(rules)


def touch(path, flags=os.O_WRONLY):
    os.close(os.open(path, flags))


def run(path):
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, os.strerror(status))


def acts(place):
    """One act for each right, in an order in which each finds what it needs."""
    place = str(place)
    return {
        "execute": lambda: run(f"{place}/program"),
        "read_file": lambda: touch(f"{place}/file", os.O_RDONLY),
        "read_dir": lambda: os.listdir(place),
        "write_file": lambda: touch(f"{place}/file"),
        "truncate": lambda: os.truncate(f"{place}/file", 0),
        "make_reg": lambda: touch(f"{place}/new", os.O_WRONLY | os.O_CREAT),
        "make_dir": lambda: os.mkdir(f"{place}/newdir"),
        "make_sym": lambda: os.symlink("x", f"{place}/link"),
        "make_fifo": lambda: os.mkfifo(f"{place}/fifo"),
        "make_sock": lambda: socket.socket(socket.AF_UNIX).bind(f"{place}/sock"),
        "refer": lambda: os.rename(f"{place}/program", f"{place}/dir/program"),
        "link": lambda: os.link(f"{place}/file", f"{place}/dir/file"),
        "remove_file": lambda: os.unlink(f"{place}/file"),
        "remove_dir": lambda: os.rmdir(f"{place}/empty"),
    }


READING = {"execute", "read_file", "read_dir"}


def test_writable_places_have_every_right_and_others_none(places):
    def everything():
        return {
            name: {act: attempt(do) for act, do in acts(places / name).items()}
            for name in ("open", "closed")
        }

    found = confined(everything, read_write=[places / "open"])
    assert set(found["open"].values()) == {0}, found["open"]
    # Moving between directories without the right is EXDEV or EACCES: landlock(7).
    assert set(found["closed"].values()) <= {errno.EACCES, errno.EXDEV}, found["closed"]
    assert "content" in (places / "closed" / "file").read_text()


def test_readable_places_can_be_read_and_nothing_else(places):
    def everything():
        return {act: attempt(do) for act, do in acts(places / "open").items()}

    found = confined(everything, read_only=[places / "open"])
    assert {act for act, number in found.items() if number == 0} == READING
    assert set(found.values()) <= {0, errno.EACCES, errno.EXDEV}
    assert (places / "open" / "file").read_text() == "content"


def test_a_file_cannot_be_moved_or_linked_out_of_the_open_tree(places):
    def smuggle():
        inside, outside = places / "open", places / "closed"
        return (
            attempt(os.rename, inside / "file", outside / "stolen"),
            attempt(os.link, inside / "file", outside / "linked"),
            attempt(os.rename, outside / "file", inside / "stolen"),
            attempt(os.link, outside / "file", inside / "linked"),
            attempt(os.rename, inside / "file", inside / "dir" / "file"),
        )

    *refused, allowed = confined(smuggle, read_write=[places / "open"])
    assert set(refused) <= {errno.EACCES, errno.EXDEV}
    assert allowed == 0


def test_device_requests_need_a_writable_device(places):
    def ask():
        # A terminal of its own, opened anew by its name: the right is checked at open.
        _, terminal = pty.openpty()
        again = os.open(os.ttyname(terminal), os.O_RDWR | os.O_NOCTTY)
        closed = os.open("/dev/zero", os.O_RDONLY)
        return (
            attempt(termios.tcgetwinsize, again),
            attempt(fcntl.ioctl, closed, 0x80045430, struct.pack("i", 0)),
        )

    without_right = confined(
        ask, baseline=(), read_write=["/dev/ptmx", "/dev/pts"], read_only=["/dev/zero", "/usr"]
    )
    assert without_right == (0, errno.EACCES)
    with_right = confined(ask, read_write=["/dev/zero"])
    assert with_right == (0, errno.ENOTTY)


def test_a_swapped_path_gains_nothing(places):
    """The rule binds to the file that was there at the start, for every later session."""
    rules = ruleset(read_write=[places / "open"])
    (places / "open").rename(places / "elsewhere")
    (places / "open").symlink_to("/etc")

    def child():
        become_workload()
        landlock.restrict_self(rules)
        return (
            attempt(touch, places / "elsewhere" / "file"),
            attempt(os.listdir, places / "open"),
            attempt(os.listdir, places / "closed"),
        )

    assert in_child(child) == (0, 0, errno.EACCES)  # /etc is in the baseline, for reading
    os.unlink(places / "open")
    (places / "open").symlink_to(places / "closed")
    assert in_child(child) == (0, errno.EACCES, errno.EACCES)
    os.close(rules)


def test_proc_is_for_reading(places):
    """Writing other processes' memory, limits or identity maps goes through files of /proc (C9)."""

    def write():
        pid = os.fork()
        if pid == 0:
            signal.pause()
        found = (
            attempt(touch, f"/proc/{pid}/mem", os.O_RDWR),
            attempt(touch, f"/proc/{pid}/mem"),
            attempt(touch, "/proc/self/uid_map"),
            attempt(touch, "/proc/self/oom_score_adj"),
            attempt(touch, f"/proc/{pid}/status", os.O_RDONLY),
        )
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return found

    assert confined(write) == (errno.EACCES,) * 4 + (0,)


def test_abstract_sockets_of_others_are_out_of_reach(places):
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as letterbox,
    ):
        listener.bind("\0outside")
        listener.listen()
        letterbox.bind("\0outside-datagrams")

        def connect():
            own = socket.socket(socket.AF_UNIX)
            own.bind("\0inside")
            own.listen()
            datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            return (
                attempt(socket.socket(socket.AF_UNIX).connect, "\0outside"),
                attempt(datagrams.sendto, b"x", "\0outside-datagrams"),
                attempt(datagrams.connect, "\0outside-datagrams"),
                attempt(socket.socket(socket.AF_UNIX).connect, "\0inside"),
            )

        assert confined(connect) == (errno.EPERM,) * 3 + (0,)

        def unconfined():
            become_workload()
            return attempt(socket.socket(socket.AF_UNIX).connect, "\0outside")

        assert in_child(unconfined) == 0


def test_signals_stay_inside(places):
    outside = os.fork()
    if outside == 0:
        os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
        while True:
            signal.pause()

    def kill():
        inside = os.fork()
        if inside == 0:
            signal.pause()
        found = (
            attempt(os.kill, outside, 0),
            attempt(os.kill, outside, signal.SIGTERM),
            attempt(signal.pidfd_send_signal, os.pidfd_open(outside), signal.SIGTERM),
            attempt(os.kill, inside, signal.SIGKILL),
        )
        os.waitpid(inside, 0)
        return found

    def unconfined():
        become_workload()
        return attempt(os.kill, outside, 0)

    try:
        assert confined(kill) == (errno.EPERM,) * 3 + (0,)
        assert in_child(unconfined) == 0
    finally:
        os.kill(outside, signal.SIGKILL)
        os.waitpid(outside, 0)


def test_mounting_is_over_even_for_root(places):
    rules = ruleset(read_write=[places / "open"])

    def child():
        landlock.restrict_self(rules)
        return attempt(mount, "none", str(places / "open"), "tmpfs")

    def unconfined():
        return attempt(mount, "none", str(places / "open"), "tmpfs")

    assert in_child(child, unshare=0x20000) == errno.EPERM
    assert in_child(unconfined, unshare=0x20000) == 0
    os.close(rules)


def test_without_no_new_privs_there_is_no_domain():
    rules = ruleset()

    def forgotten():
        os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
        return attempt(landlock.restrict_self, rules)

    assert in_child(forgotten) == errno.EPERM
    os.close(rules)


def test_every_right_that_we_know_is_the_kernels_and_none_more():
    """The constants against the kernel's own check: it refuses a right it does not know."""
    assert landlock.abi() == landlock.KNOWN_ABI, "teach landlock.py what the newer ABI brought"
    assert landlock.why_unavailable() == ""
    assert landlock.errata() > 0
    everything = landlock.bits(landlock.FILESYSTEM, landlock.KNOWN_ABI)
    scopes = landlock.bits(landlock.SCOPES, landlock.KNOWN_ABI)
    for handled, scoped, known in (
        (everything, scopes, True),
        (everything + 1, scopes, False),
        (everything, scopes + 1, False),
    ):
        attributes = struct.pack("=QQQ", handled, 0, scoped)
        if known:
            os.close(landlock.landlock_create_ruleset(attributes, 24, 0))
        else:
            with pytest.raises(SyscallError) as refused:
                landlock.landlock_create_ruleset(attributes, 24, 0)
            assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("version", range(1, 12))
def test_a_ruleset_for_each_version_is_accepted(version):
    """An older version asks for less; a newer one than we know asks for what we know."""
    found = landlock.create(version)
    assert found.version == min(version, 7)
    path = os.open("/usr", os.O_PATH)
    assert found.allow(path, (1 << 64) - 1) == landlock.bits(landlock.FILESYSTEM, version)
    os.close(path)
    os.close(found.descriptor)


@pytest.mark.parametrize("path", ["/dev/null", "/etc/passwd"])
def test_rights_of_directories_are_cut_from_other_files(path):
    rules = landlock.create(landlock.abi())
    descriptor = os.open(path, os.O_PATH)
    assert rules.allow(descriptor, (1 << 16) - 1) == landlock.FILE_RIGHTS
    with pytest.raises(SyscallError, match="landlock_add_rule"):
        landlock.landlock_add_rule(
            rules.descriptor, 1, struct.pack("=Qi", landlock.READ_DIR, descriptor)
        )
    os.close(descriptor)
    os.close(rules.descriptor)


def prepared(paths, level="hard_requirement", *, as_workload=False):
    rules = path_rules(read_only=paths, read_write=(), workdir=None, baseline=())
    return prepare(
        rules, compatibility=level, groups=frozenset({WORKLOAD}), as_workload=as_workload
    )


def test_hard_requirement_names_every_path_that_cannot_be_used(root):
    (root / "file").write_text("")
    loop = root / "loop"
    loop.symlink_to("loop")
    causes = {
        str(root / "missing"): "does not exist",
        str(root / "file" / "below"): "not a directory on the way",
        str(root / ("x" * 300)): "a name is too long",
        str(loop): "too many symlinks",
    }
    with pytest.raises(Refusal) as refusal:
        prepared(list(causes))
    assert refusal.value.code.name == "startup.paths-unusable"
    for path, cause in causes.items():
        assert f"{path} (filesystem_policy.read_only): {cause}" in refusal.value.cause


def test_a_link_that_makes_read_only_lie_inside_writable_is_refused(root):
    (root / "data" / "fixed").mkdir(parents=True)
    (root / "view").symlink_to("data/fixed")
    with pytest.raises(Refusal) as refusal:
        ruleset(read_only=[root / "view"], read_write=[root / "data"])
    assert refusal.value.code.name == "startup.paths-overlap"


def test_best_effort_leaves_them_out_and_lists_them(root):
    found = prepared([str(root / "missing"), "/usr"], "best_effort")
    assert [loss.permitted_by for loss in found.losses] == ["landlock.compatibility: best_effort"]
    assert "missing" in found.losses[0].meaning
    assert {path.rule.path: bool(path.rights) for path in found.paths} == {
        str(root / "missing"): False,
        "/usr": True,
    }
    os.close(found.ruleset)


def test_as_the_workload_an_unreachable_path_needs_no_rule(root):
    closed = root / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)

    def child():
        become_workload()
        found = prepared([str(closed / "inner"), "/usr"], as_workload=True)
        return {path.rule.path: path.problem for path in found.paths}

    def missing():
        become_workload()
        with pytest.raises(Refusal):
            prepared([str(root / "missing")], as_workload=True)

    problems = in_child(child)
    assert problems["/usr"] == ""
    assert "may not be reached" in problems[str(closed / "inner")]
    in_child(missing)


def test_no_descriptor_is_left_open(root):
    before = os.listdir("/proc/self/fd")
    os.close(prepared(["/usr", "/lib", "/dev/null"]).ruleset)
    with pytest.raises(Refusal):
        prepared(["/usr", str(root / "missing")])
    assert os.listdir("/proc/self/fd") == before
