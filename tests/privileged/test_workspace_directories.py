"""Directories of the workspace and of the policy, made on a real file system (T26, T29, T30)."""

import os
import stat

import pytest
from support.forked import CLONE_NEWNS, in_child
from support.trees import bind, mount, owner, scratch

from supervisor.workspace import codes
from supervisor.workspace.execute import WorkspaceRefused, execute
from supervisor.workspace.plan import GivenBy, Owner, WorkspaceRequest, plan

OWNER = Owner(uid=4242, gid=4243, groups=(4300,))
MINE = (4242, 4243)
ROOT = (0, 0)


def prepare(workdir="/srv/work", read_write=(), capabilities=("CHOWN",), identity=OWNER):
    steps = plan(
        WorkspaceRequest(
            owner=identity,
            supervisor_tree="/.supervisor",
            workdir=workdir,
            workdir_given_by=GivenBy.ARGUMENT,
            read_write=read_write,
            capabilities=frozenset(capabilities),
        )
    )
    return execute(steps)


def on_scratch(body):
    def work():
        return body(scratch())

    return in_child(work, unshare=CLONE_NEWNS)


def refusal_of(**changes):
    with pytest.raises(WorkspaceRefused) as caught:
        prepare(**changes)
    return caught.value


def test_missing_directories_are_made_the_last_the_identitys_the_others_roots():
    def body(root):
        os.umask(0o077)
        report = prepare(read_write=("/srv/a/b/c",))
        assert report.created == ("/srv/work", "/srv/a", "/srv/a/b", "/srv/a/b/c")
        assert [owner(root / p) for p in ("work", "a", "a/b", "a/b/c")] == [MINE, ROOT, ROOT, MINE]
        modes = {stat.S_IMODE((root / p).stat().st_mode) for p in ("work", "a", "a/b", "a/b/c")}
        assert modes == {0o755}

    on_scratch(body)


def test_a_second_run_finds_nothing_to_do():
    def body(root):
        prepare(read_write=("/srv/a/b",))
        before = {path: os.lstat(path).st_ctime_ns for path in root.rglob("*")}
        report = prepare(read_write=("/srv/a/b",))
        assert (report.created, report.changed) == ((), 0)
        assert before == {path: os.lstat(path).st_ctime_ns for path in root.rglob("*")}

    on_scratch(body)


def test_what_a_policy_names_and_exists_keeps_owner_and_mode_whatever_it_is():
    def body(root):
        (root / "dir").mkdir(mode=0o700)
        (root / "file").touch()
        os.mkfifo(root / "fifo")
        os.chown(root / "dir", 77, 78)
        before = [os.lstat(root / p) for p in ("dir", "file", "fifo")]
        report = prepare(read_write=("/srv/dir", "/srv/file", "/srv/fifo", "/dev/null"))
        assert report.created == ("/srv/work",)
        assert [os.lstat(root / p) for p in ("dir", "file", "fifo")] == before

    on_scratch(body)


def test_an_existing_workspace_is_owned_with_its_owners_write_and_search_its_children_are_not():
    def body(root):
        (root / "work/sub").mkdir(parents=True)
        (root / "work").chmod(0o450)
        report = prepare()
        assert (owner(root / "work"), owner(root / "work/sub")) == (MINE, ROOT)
        assert stat.S_IMODE((root / "work").stat().st_mode) == 0o750
        assert report.changed == 2

    on_scratch(body)


@pytest.mark.parametrize("workdir", ["/srv/link", "/srv/link/below", "/srv/real/link2/below"])
def test_a_link_at_or_above_the_workspace_is_refused_and_nothing_is_created(workdir):
    def body(root):
        (root / "real").mkdir()
        (root / "link").symlink_to("real")
        (root / "real/link2").symlink_to("/srv/real")
        refusal = refusal_of(workdir=workdir)
        assert refusal.code is codes.SYMLINK
        assert refusal.report.created == ()
        assert sorted(p.name for p in root.rglob("*")) == ["link", "link2", "real"]
        assert owner(root / "real") == ROOT

    on_scratch(body)


@pytest.mark.parametrize("workdir", ["/srv/file", "/srv/file/below"])
def test_a_file_at_or_above_the_workspace_is_refused(workdir):
    def body(root):
        (root / "file").touch()
        assert refusal_of(workdir=workdir).code is codes.NOT_A_DIRECTORY
        assert owner(root / "file") == ROOT

    on_scratch(body)


def test_a_parent_that_the_identity_cannot_pass_is_refused_and_nothing_is_created():
    def body(root):
        (root / "closed").mkdir(mode=0o700)
        refusal = refusal_of(workdir="/srv/closed/a/b")
        assert refusal.code is codes.NOT_TRAVERSABLE
        assert list((root / "closed").iterdir()) == []

    on_scratch(body)


def test_a_parent_that_only_a_supplementary_group_opens_is_passed():
    def body(root):
        (root / "team").mkdir(mode=0o710)
        os.chown(root / "team", 0, 4300)
        prepare(workdir="/srv/team/work")
        assert owner(root / "team/work") == MINE
        stranger = Owner(uid=4242, gid=4243)
        refusal = refusal_of(workdir="/srv/team/other", identity=stranger)
        assert refusal.code is codes.NOT_TRAVERSABLE

    on_scratch(body)


def test_a_policy_path_follows_a_link_only_root_can_re_point_to_where_only_root_writes():
    def body(root):
        (root / "real").mkdir()
        (root / "etc-like").symlink_to("real")
        (root / "real/up").symlink_to("../real")
        report = prepare(read_write=("/srv/etc-like/up/new",))
        assert owner(root / "real/new") == MINE
        assert [(link.path, link.target) for link in report.links] == [
            ("/srv/etc-like", "real"),
            ("/srv/real/up", "../real"),
        ]

    on_scratch(body)


def test_a_policy_path_through_a_link_that_others_could_re_point_is_refused():
    def body(root):
        (root / "real").mkdir()
        (root / "theirs").symlink_to("real")
        os.lchown(root / "theirs", *MINE)
        (root / "shared").mkdir()
        (root / "shared").chmod(0o1777)
        (root / "shared/link").symlink_to("/srv/real")
        for path in ("/srv/theirs/new", "/srv/theirs", "/srv/shared/link/new"):
            assert refusal_of(read_write=(path,)).code is codes.SYMLINK
        assert list((root / "real").iterdir()) == []

    on_scratch(body)


def test_a_policy_link_to_where_the_workload_can_write_is_refused():
    def body(root):
        (root / "theirs").mkdir()
        os.chown(root / "theirs", *MINE)
        (root / "link").symlink_to("theirs")
        assert refusal_of(read_write=("/srv/link",)).code is codes.SYMLINK

    on_scratch(body)


def test_a_policy_link_into_a_system_directory_is_refused_as_the_directory_would_be():
    def body(root):
        (root / "link").symlink_to("/etc")
        assert refusal_of(read_write=("/srv/link",)).code is codes.PROTECTED
        assert refusal_of(read_write=("/srv/link/new",)).code is codes.CANNOT_CREATE
        assert not os.path.lexists("/etc/new")

    on_scratch(body)


def test_links_in_a_circle_end():
    def body(root):
        (root / "one").symlink_to("two")
        (root / "two").symlink_to("one")
        assert refusal_of(read_write=("/srv/one",)).code is codes.SYMLINK

    on_scratch(body)


def test_without_the_capability_only_what_already_is_the_identitys_passes():
    import prctl

    def body(root):
        (root / "work").mkdir()
        os.chown(root / "work", *MINE)
        (root / "theirs").mkdir()
        prctl.cap_effective.chown = False
        nothing = {"capabilities": ()}
        assert prepare(**nothing).changed == 0
        for path in ("/srv/theirs", "/srv/missing"):
            refusal = refusal_of(workdir=path, **nothing)
            assert refusal.code is codes.CHOWN_CAPABILITY
            assert "CHOWN" in refusal.remedy
        assert not (root / "missing").exists()
        assert owner(root / "theirs") == ROOT

    on_scratch(body)


def test_a_process_that_already_is_the_identity_creates_what_it_may_without_capabilities():
    def body(root):
        (root / "home").mkdir()
        os.chown(root / "home", *MINE)
        os.setgroups([])
        os.setresgid(4243, 4243, 4243)
        os.setresuid(4242, 4242, 4242)
        prepare(workdir="/srv/home/work", capabilities=())
        assert owner(root / "home/work") == MINE
        assert refusal_of(workdir="/srv/new", capabilities=()).code is codes.CANNOT_CREATE

    on_scratch(body)


def test_a_read_only_place_is_refused_by_name():
    def body(root):
        (root / "fixed/work").mkdir(parents=True)
        bind(root / "fixed", root / "fixed", read_only=True)
        assert refusal_of(workdir="/srv/fixed/work").code is codes.READ_ONLY
        assert refusal_of(workdir="/srv/fixed/new").code is codes.CANNOT_CREATE

    on_scratch(body)


def test_a_volume_mounted_on_the_way_is_entered():
    def body(root):
        (root / "volume").mkdir()
        mount("tmpfs", root / "volume", "tmpfs", 0, "mode=0755")
        prepare(workdir="/srv/volume/work")
        assert owner(root / "volume/work") == MINE

    on_scratch(body)


def test_odd_names_are_made_as_they_are():
    def body(root):
        odd = "new\nline[*]\\\udcff"
        report = prepare(read_write=(f"/srv/{odd}",))
        assert owner(root / odd) == MINE
        assert report.created[-1] == "/srv/new\\nline[*]\\\\\\xff"

    on_scratch(body)


def test_a_directory_swapped_right_after_it_was_made_is_refused(monkeypatch):
    """The parent is the workload's own, so a process of its uid can win this race."""

    def body(root):
        (root / "theirs").mkdir()
        os.chown(root / "theirs", *MINE)
        (root / "theirs/victim").mkdir()
        (root / "theirs/victim/file").touch()
        real_mkdir = os.mkdir

        def mkdir_then_swap(name, mode, *, dir_fd):
            real_mkdir(name, mode, dir_fd=dir_fd)
            os.rmdir(root / "theirs/new")
            (root / "theirs/victim").rename(root / "theirs/new")

        monkeypatch.setattr(os, "mkdir", mkdir_then_swap)
        refusal = refusal_of(read_write=("/srv/theirs/new",), workdir="/srv/theirs")
        assert refusal.code is codes.CHANGED_UNDERFOOT
        assert owner(root / "theirs/new") == ROOT

    on_scratch(body)
