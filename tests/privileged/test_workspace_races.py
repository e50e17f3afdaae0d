"""Attack B1: names swapped while a tree is taken over never bring a foreign inode in.

The racing process has the identity's uid, as one in another pod on the same volume would. The
moments that a race rarely hits are also forced: the swap happens between our look and our change.
"""

import contextlib
import os
import signal

import pytest
from support.forked import CLONE_NEWNS, in_child
from support.trees import exchange, owner, owners, scratch

from supervisor.workspace import codes, entries, ownership
from supervisor.workspace.execute import WorkspaceRefused, execute
from supervisor.workspace.plan import Owner, TakeOver
from supervisor.workspace.report import Skip

OWNER = Owner(uid=4242, gid=4242)
MINE = (4242, 4242)
EARLIER = (4000, 4000)
ANOTHER = (4001, 4001)
ROOT = (0, 0)
ROUNDS = 30


def take(path="/srv/work"):
    return execute((TakeOver(path=str(path), owner=OWNER, may_chown=True, reason="test"),))


def in_work(body):
    def run():
        work = scratch() / "work"
        work.mkdir()
        return body(work)

    return in_child(run, unshare=CLONE_NEWNS)


@contextlib.contextmanager
def racing(*pairs, uid=4242):
    """Swap the names of each pair for ever, as ``uid``, from before the body starts."""
    started, start = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        for pair in pairs:
            exchange(*pair)
        os.write(start, b"x")
        while True:
            for pair in pairs:
                with contextlib.suppress(OSError):  # EACCES: the directory was taken from us
                    exchange(*pair)
    os.close(start)
    assert os.read(started, 1) == b"x"
    os.close(started)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("holder", [MINE, EARLIER], ids=["the identity's", "a third party's"])
@pytest.mark.parametrize("mode", [0o755, 0o775])
def test_entries_swapped_for_hard_links_and_symlinks_by_a_racing_process(holder, mode):
    def body(work):
        outside = work.parent / "outside"
        outside.mkdir()
        (outside / "linked").touch()
        (outside / "pointed-at").touch()
        work.chmod(mode)
        pairs = []
        for number in range(40):
            mine, planted = work / f"a{number}", work / f"b{number}"
            mine.touch()
            if number % 2:
                os.link(outside / "linked", planted)
            else:
                planted.symlink_to(outside / "pointed-at")
            pairs.append((mine, planted))
        # Held before the race: by name, giving them back would itself hit what was planted.
        held = [os.open(mine, os.O_RDONLY) for mine, _ in pairs]
        os.chown(work, *holder)
        with racing(*pairs, uid=holder[0]):
            for _ in range(ROUNDS):
                take()
                assert owners(outside) == {ROOT}
                assert owner(work) == MINE
                for fd in held:
                    os.fchown(fd, *ANOTHER)
                os.chown(work, *holder)

    in_work(body)


def test_a_directory_swapped_for_a_symlink_by_a_racing_process():
    def body(work):
        outside = work.parent / "outside"
        (outside / "below").mkdir(parents=True)
        (outside / "below/victim").touch()
        os.chown(work, *MINE)
        pairs = []
        for number in range(10):
            (work / f"d{number}/below").mkdir(parents=True)
            (work / f"d{number}/below/file").touch()
            # Moving a directory takes write permission on it, for its "..".
            os.chown(work / f"d{number}", *MINE)
            (work / f"l{number}").symlink_to(outside)
            pairs.append((work / f"d{number}", work / f"l{number}"))
        with racing(*pairs):
            for _ in range(ROUNDS):
                take()
                assert owners(outside) == {ROOT}

    in_work(body)


def test_a_swap_between_our_look_and_our_change_changes_what_was_looked_at(monkeypatch):
    def body(work):
        outside = work.parent / "victim"
        outside.touch()
        (work / "file").touch()
        os.chown(work / "file", *EARLIER)
        os.link(outside, work / "planted")
        work.chmod(0o777)
        fchownat = entries.fchownat

        def swap_then_change(fd, uid, gid):
            exchange(work / "file", work / "planted")
            fchownat(fd, uid, gid)

        monkeypatch.setattr(entries, "fchownat", swap_then_change)
        report = take()
        assert owner(outside) == ROOT
        assert owner(work / "planted") == MINE  # the inode that had been "file"
        assert report.skipped[Skip.HARD_LINK].count == 1

    in_work(body)


def test_names_are_used_only_where_nobody_but_root_can_swap_them(monkeypatch):
    """In another's directory, between listing and holding, the names already are swapped."""

    def body(work):
        outside = work.parent / "victim"
        outside.touch()
        for mode, holder in ((0o755, MINE), (0o775, EARLIER), (0o775, ROOT), (0o757, ROOT)):
            for name in ("file", "planted"):
                (work / name).unlink(missing_ok=True)
            (work / "file").touch()
            os.chown(work / "file", *EARLIER)
            os.link(outside, work / "planted")
            os.chown(work, *holder)
            work.chmod(mode)
            real_stat = entries.Entries._is_listed_here

            def swap_after_look(self, entry, status, real_stat=real_stat):
                listed = real_stat(self, entry, status)
                exchange(work / "file", work / "planted")
                return listed

            with monkeypatch.context() as patch:
                patch.setattr(entries.Entries, "_is_listed_here", swap_after_look)
                take()
            assert owner(outside) == ROOT, (oct(mode), holder)

    in_work(body)


def test_a_third_partys_directory_is_roots_while_its_entries_change_hands(monkeypatch):
    def body(work):
        (work / "file").touch()
        os.chown(work, *EARLIER)
        holders = []
        real_look = entries.Entries._is_listed_here

        def note_holder(self, entry, status):
            holders.append(os.lstat(work).st_uid)
            return real_look(self, entry, status)

        monkeypatch.setattr(entries.Entries, "_is_listed_here", note_holder)
        take()
        assert holders == [0]
        assert owners(work) == {MINE}

    in_work(body)


def test_a_directory_moved_elsewhere_while_it_is_visited_ends_the_start(monkeypatch):
    """Going up by '..' would lead into the directory that it was moved to."""
    from supervisor.workspace import walk

    def body(work):
        monkeypatch.setattr(walk, "OPEN_LEVELS", 1)
        outside = work.parent / "outside"
        outside.mkdir()
        (outside / "victim").touch()
        (work / "a/b/c").mkdir(parents=True)
        (work / "a/zz").mkdir()
        real_listing = entries.Entries.hand_over

        def move_then_list(self, watch):
            if self.path.endswith("/c"):
                (work / "a/b").rename(outside / "b")
            return real_listing(self, watch)

        monkeypatch.setattr(entries.Entries, "hand_over", move_then_list)
        with pytest.raises(WorkspaceRefused) as caught:
            take()
        assert caught.value.code is codes.CHANGED_UNDERFOOT
        assert owner(outside / "victim") == ROOT

    in_work(body)


def test_an_entry_that_vanishes_is_skipped_and_named(monkeypatch):
    def body(work):
        (work / "brief").touch()
        (work / "gone").mkdir()
        work.chmod(0o777)
        real_hold = entries.Entries._hold

        def vanish_then_hold(self, entry):
            (work / "brief").unlink()
            (work / "gone").rmdir()
            return real_hold(self, entry)

        monkeypatch.setattr(entries.Entries, "_hold", vanish_then_hold)
        report = take()
        vanished = {"/srv/work/brief", "/srv/work/gone"}
        assert set(report.skipped[Skip.CHANGED].paths) == vanished

    in_work(body)


def test_holding_opens_nothing():
    """O_PATH: a FIFO does not block, a device is not opened, whatever the name now stands for."""
    assert ownership.HOLD & os.O_PATH
    assert ownership.HOLD & os.O_NOFOLLOW
