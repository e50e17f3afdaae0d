"""An image's working directory, tried by a child that is the identity (T31)."""

import os

import pytest
from support.forked import CLONE_NEWNS, in_child
from support.trees import bind, mount, scratch

from supervisor.workspace import codes, validate
from supervisor.workspace.execute import WorkspaceRefused, execute
from supervisor.workspace.plan import GivenBy, Owner, WorkspaceRequest, plan

OWNER = Owner(uid=4242, gid=4243, groups=(4300,))


def check(path="/srv/app", **changes):
    steps = plan(
        WorkspaceRequest(
            owner=OWNER,
            supervisor_tree="/.supervisor",
            workdir=str(path),
            workdir_given_by=GivenBy.IMAGE,
            capabilities=frozenset({"CHOWN"}),
        )
    )
    return execute(steps, **changes)


def refusal_of(path="/srv/app", **changes):
    with pytest.raises(WorkspaceRefused) as caught:
        check(path, **changes)
    return caught.value


CLONE_NEWIPC = 0x08000000


def with_app(body, *, mode, uid=0, gid=0, unshare=CLONE_NEWNS):
    """Run ``body`` with /srv/app of the given mode and owner."""

    def run():
        app = scratch() / "app"
        app.mkdir()
        os.chown(app, uid, gid)
        app.chmod(mode)
        return body(app)

    return in_child(run, unshare=unshare)


@pytest.mark.parametrize(
    ("mode", "uid", "gid"),
    [(0o700, 4242, 0), (0o070, 0, 4243), (0o770, 0, 4300), (0o777, 0, 0)],
    ids=["owner", "primary group", "supplementary group", "everybody"],
)
def test_a_directory_that_the_identity_can_write_passes_and_nothing_is_left_in_it(mode, uid, gid):
    def body(app):
        before = os.lstat(app)
        report = check()
        assert (report.created, report.changed) == ((), 0)
        assert list(app.iterdir()) == []
        after = os.lstat(app)
        assert (after.st_uid, after.st_gid, after.st_mode) == (uid, gid, before.st_mode)

    with_app(body, mode=mode, uid=uid, gid=gid)


@pytest.mark.parametrize(("mode", "uid"), [(0o755, 0), (0o755, 77), (0o577, 4242)])
def test_a_directory_that_the_identity_cannot_write_is_refused_naming_its_owner(mode, uid):
    def body(app):
        refusal = refusal_of()
        assert refusal.code is codes.NOT_WRITABLE
        assert f"belongs to {uid}:0, mode {mode:04o}" in refusal.cause

    with_app(body, mode=mode, uid=uid)


def test_an_acl_counts_as_it_will_for_the_workload():
    """Mode bits alone would say no. The ACL is written as the kernel stores it (acl(5))."""
    import struct

    def body(app):
        # version 2; user::rwx user:4242:rwx group::--- mask::rwx other::---
        rows = ((1, 7, -1), (2, 7, 4242), (4, 0, -1), (16, 7, -1), (32, 0, -1))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *row) for row in rows)
        os.setxattr(app, "system.posix_acl_access", acl)
        assert check().changed == 0

    with_app(body, mode=0o700)


def test_a_missing_directory_is_refused_and_not_created():
    def body(app):
        assert refusal_of(app / "missing").code is codes.MISSING
        assert refusal_of(app / "missing/below").code is codes.MISSING
        assert list(app.iterdir()) == []

    with_app(body, mode=0o777)


def test_a_parent_that_the_identity_cannot_pass_is_refused():
    def body(app):
        (app / "below").mkdir(mode=0o777)
        refusal = refusal_of(app / "below")
        assert refusal.code is codes.NOT_TRAVERSABLE
        assert "/srv/app on the way to /srv/app/below" in refusal.cause

    with_app(body, mode=0o700, uid=77)


def test_a_directory_that_cannot_be_entered_itself_is_refused():
    def body(app):
        assert refusal_of().code is codes.NOT_TRAVERSABLE

    with_app(body, mode=0o622)


def test_a_link_anywhere_is_refused_and_a_file_too():
    def body(app):
        (app / "real").mkdir(mode=0o777)
        (app / "link").symlink_to("real")
        (app / "file").touch()
        assert refusal_of(app / "link").code is codes.SYMLINK
        assert refusal_of(app / "link/below").code is codes.SYMLINK
        assert refusal_of(app / "file").code is codes.NOT_A_DIRECTORY
        assert refusal_of(app / "file/below").code is codes.NOT_A_DIRECTORY

    with_app(body, mode=0o777)


def test_a_read_only_mount_is_refused():
    def body(app):
        bind(app, app, read_only=True)
        refusal = refusal_of()
        assert refusal.code is codes.NOT_WRITABLE
        assert "Read-only" in refusal.cause

    with_app(body, mode=0o777)


def test_where_no_nameless_file_can_be_made_a_named_one_shows_it_and_goes_away():
    """mqueue is a real file system without O_TMPFILE; its root belongs to the IPC namespace."""

    def body(app):
        mount("mqueue", app, "mqueue")
        with pytest.raises(OSError, match="not supported"):
            os.open(app, os.O_TMPFILE | os.O_WRONLY)
        check()
        assert list(app.iterdir()) == []
        app.chmod(0o755)
        assert refusal_of().code is codes.NOT_WRITABLE

    with_app(body, mode=0o777, unshare=CLONE_NEWNS | CLONE_NEWIPC)


def test_a_process_that_already_is_the_identity_needs_no_capability():
    def body(app):
        os.setgroups([4300])
        os.setresgid(4243, 4243, 4243)
        os.setresuid(4242, 4242, 4242)
        assert check().changed == 0

    with_app(body, mode=0o770, gid=4300)


def test_without_the_right_to_change_ids_nothing_is_validated_as_somebody_else():
    import prctl

    def body(app):
        prctl.cap_effective.setuid = False
        assert refusal_of().code is codes.IDENTITY_NOT_ASSUMED

    with_app(body, mode=0o777)


def test_capabilities_that_outlive_the_change_of_ids_make_the_answer_worthless():
    import prctl

    def body(app):
        prctl.securebits.no_setuid_fixup = True
        refusal = refusal_of()
        assert refusal.code is codes.IDENTITY_NOT_ASSUMED
        assert "capabilities are left" in refusal.cause

    with_app(body, mode=0o755)


def test_a_child_that_hangs_is_ended_at_the_deadline(monkeypatch):
    import signal

    def body(app):
        monkeypatch.setattr(validate, "_walk_and_write", lambda path: signal.pause())
        refusal = refusal_of(deadline_s=0.1)
        assert refusal.code is codes.DEADLINE
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    with_app(body, mode=0o777)
