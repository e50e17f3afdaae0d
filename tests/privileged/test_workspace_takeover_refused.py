"""When recursive ownership is refused, and what is told then."""

import os
import struct

import pytest
from support.takeovers import EARLIER, MINE, ROOT, everything_of, fill, in_work, refusal_of, take
from support.trees import owners

from supervisor.workspace import codes, takeover


def test_without_the_capability_a_foreign_entry_is_refused_and_own_ones_pass():
    import prctl

    def body(work):
        (work / "file").touch()
        everything_of(work, *MINE)
        prctl.cap_effective.chown = False
        assert take(may_chown=False).changed == 0
        (work / "theirs").touch()
        refusal = refusal_of(may_chown=False)
        assert refusal.code is codes.CHOWN_CAPABILITY
        assert "/srv/work/theirs" in refusal.cause
        assert "CHOWN" in refusal.remedy

    in_work(body)


def test_a_refusal_in_the_helper_is_the_refusal_of_the_whole(monkeypatch):
    import prctl

    def body(work):
        monkeypatch.setattr(takeover, "_processors", lambda: 2)
        fill(work, directories=6, files=20, depth=3)
        everything_of(work, *MINE)
        # Whichever process handles the directory meets it: one foreign file in each.
        for directory, _, _ in os.walk(work / "dir0"):
            open(os.path.join(directory, "theirs"), "w").close()
        prctl.cap_effective.chown = False
        assert refusal_of(may_chown=False).code is codes.CHOWN_CAPABILITY
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    in_work(body)


def test_a_killed_helper_is_a_refusal(monkeypatch):
    def body(work):
        monkeypatch.setattr(takeover, "_processors", lambda: 2)
        monkeypatch.setattr(takeover._Crew, "_help", lambda crew, walk: os.kill(os.getpid(), 9))
        fill(work, directories=6, files=20, depth=3)
        refusal = refusal_of()
        assert refusal.code is codes.WORKER_DIED
        assert "signal 9" in refusal.cause

    in_work(body)


def test_past_the_deadline_it_stops_refuses_and_says_how_far_it_got(monkeypatch):
    def body(work):
        monkeypatch.setattr(takeover, "_processors", lambda: 1)
        fill(work)
        refusal = refusal_of(deadline_s=0.0)
        assert refusal.code is codes.DEADLINE
        assert refusal.report.deadline_hit
        assert refusal.report.entries == 0
        assert owners(work) == {ROOT}
        assert not take().deadline_hit

    in_work(body)


def test_a_second_of_work_gives_a_sign_of_life(monkeypatch, capfd):
    from supervisor.workspace import watch

    def body(work):
        monkeypatch.setattr(watch, "PROGRESS_EVERY_S", 0.0)
        fill(work, directories=1, files=1, depth=1)
        take()

    in_work(body)
    assert "workspace: /srv/work/dir0: 2 entries, 0 s\n" in capfd.readouterr().err


def test_a_directory_that_may_not_be_read_is_refused_naming_the_capability():
    import prctl

    def body(work):
        (work / "closed").mkdir()
        everything_of(work, *EARLIER)
        (work / "closed").chmod(0o700)
        for name in ("dac_override", "dac_read_search"):
            setattr(prctl.cap_effective, name, False)
        refusal = refusal_of()
        assert refusal.code is codes.UNREADABLE
        assert "DAC_READ_SEARCH" in refusal.remedy

    in_work(body)


def test_an_immutable_file_is_refused_and_named():
    """chattr +i makes chown fail with EPERM although CAP_CHOWN is held."""
    import fcntl

    FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x40086602, 0x10

    def body(work):
        (work / "fixed").touch()
        with (work / "fixed").open() as file:
            fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("l", FS_IMMUTABLE_FL))
        refusal = refusal_of()
        assert refusal.code is codes.CHOWN_REFUSED
        assert "/srv/work/fixed" in refusal.cause

    in_work(body)
