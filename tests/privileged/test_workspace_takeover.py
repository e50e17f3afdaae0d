"""Recursive ownership on real file systems (T27, W-8, attacks B1 to B3, B15, B17)."""

import os
import resource
import stat
import struct

import pytest
from support.takeovers import EARLIER, MINE, ROOT, everything_of, fill, in_work, refusal_of, take
from support.trees import bind, mount, owner, owners

from supervisor.workspace import codes, takeover, walk
from supervisor.workspace.report import Named, Skip

# struct vfs_cap_data, revision 2, effective bit, cap_net_raw (include/uapi/linux/capability.h)
CAP_NET_RAW_EP = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.mark.parametrize("before", [ROOT, EARLIER, (4242, 0), (0, 4243)])
def test_all_descendants_change_hands_and_are_counted(before):
    def body(work):
        entries = fill(work)
        everything_of(work, *before)
        report = take()
        assert owners(work) == {MINE}
        assert (report.entries, report.changed, report.skipped) == (entries, entries, {})

    in_work(body)


def test_a_world_writable_directory_of_roots_changes_hands_too():
    def body(work):
        fill(work)
        work.chmod(0o1777)
        take()
        assert owners(work) == {MINE}

    in_work(body)


@pytest.mark.parametrize("processors", [1, 2])
def test_a_large_tree_changes_hands_alone_or_with_a_helper(monkeypatch, processors):
    def body(work):
        monkeypatch.setattr(takeover, "_processors", lambda: processors)
        entries = fill(work, directories=6, files=20, depth=3)
        os.link(work / "dir5/dir5/file1", work / "dir5/dir5/again")
        os.link(work / "dir0/dir0/file1", work / "dir0/dir0/again")
        assert entries > 2 * takeover.ENTRIES_BEFORE_HELPER
        report = take()
        assert report.entries == entries + 2
        assert report.changed == entries - 2
        assert report.skipped[Skip.HARD_LINK].count == 4
        assert owners(work) == {MINE, ROOT}

    in_work(body)


def test_a_second_run_writes_nothing():
    def body(work):
        fill(work)
        (work / "link").symlink_to("/etc/passwd")
        (work / "program").touch(mode=0o755)
        take()
        before = {path: os.lstat(path).st_ctime_ns for path in work.rglob("*")}
        report = take()
        assert report.changed == 0
        assert before == {path: os.lstat(path).st_ctime_ns for path in work.rglob("*")}

    in_work(body)


def test_nothing_there_is_nothing_to_do():
    def body(work):
        work.rmdir()
        assert take().entries == 0

    in_work(body)


def test_a_linked_root_or_parent_and_a_file_are_refused():
    def body(work):
        (work / "real/below").mkdir(parents=True)
        (work / "link").symlink_to("real")
        (work / "file").touch()
        assert refusal_of(path=work / "link").code is codes.SYMLINK
        assert refusal_of(path=work / "link/below").code is codes.SYMLINK
        assert refusal_of(path=work / "file").code is codes.NOT_A_DIRECTORY
        assert owners(work) == {ROOT}

    in_work(body)


@pytest.mark.parametrize("before", [ROOT, EARLIER])
def test_a_link_changes_hands_itself_and_its_target_does_not(before):
    def body(work):
        outside = work.parent / "outside"
        outside.mkdir()
        (outside / "victim").touch()
        (work / "to-file").symlink_to(outside / "victim")
        (work / "to-directory").symlink_to(outside)
        (work / "dangling").symlink_to("nowhere")
        everything_of(work, *before)
        take()
        assert owners(outside) == {ROOT}
        assert owner(work / "to-file") == owner(work / "to-directory") == MINE
        assert owner(work / "dangling") == MINE

    in_work(body)


@pytest.mark.parametrize("directory_of", [ROOT, EARLIER, MINE])
def test_a_file_with_a_second_name_is_left_and_reported(directory_of):
    def body(work):
        outside = work.parent / "shadow"
        outside.touch(mode=0o600)
        os.link(outside, work / "planted")
        (work / "plain").touch()
        os.link(work / "plain", work / "plain-too")
        os.chown(work / "plain", *MINE)
        os.chown(work, *directory_of)
        report = take()
        assert owner(outside) == ROOT
        assert owner(work / "plain") == MINE
        assert report.skipped == {Skip.HARD_LINK: Named(count=1, paths=("/srv/work/planted",))}

    in_work(body)


@pytest.mark.parametrize("directory_of", [ROOT, EARLIER, MINE])
def test_other_mounts_are_not_entered_even_of_the_same_file_system(directory_of):
    def body(work):
        fill(work)
        outside = work.parent / "outside"
        outside.mkdir()
        (outside / "victim").touch()
        (work.parent / "file").touch()
        bind(outside, work / "dir0")
        bind(outside / "victim", work / "file0")
        bind(work.parent / "file", work / "dir1/file0", read_only=True)
        bind(work / "dir2", work / "dir2", read_only=True)
        mount("tmpfs", work / "dir3", "tmpfs", 0, "mode=0755")
        (work / "dir3/theirs").touch()
        os.chown(work, *directory_of)
        report = take()
        assert owners(outside) == owners(work / "dir3") == owners(work / "dir2") == {ROOT}
        assert owner(work.parent / "file") == ROOT
        assert owner(work / "file1") == owner(work / "dir1/file1") == MINE
        assert report.skipped[Skip.OTHER_MOUNT].count == 5
        assert set(report.skipped[Skip.OTHER_MOUNT].paths) == {
            f"/srv/work/{name}" for name in ("dir0", "file0", "dir1/file0", "dir2", "dir3")
        }

    in_work(body)


def test_a_mounted_file_is_not_taken_for_the_one_below_it_because_their_numbers_agree():
    """Every tmpfs counts its inodes from the start, so equal numbers on two of them are usual."""

    def body(work):
        (work / "file").touch()
        other = work.parent / "other"
        other.mkdir()
        mount("tmpfs", other, "tmpfs")
        wanted = (work / "file").stat().st_ino
        for number in range(100):
            twin = other / f"twin{number}"
            twin.touch()
            if twin.stat().st_ino == wanted:
                break
        assert twin.stat().st_ino == wanted
        bind(twin, work / "file")
        assert take().skipped == {
            Skip.OTHER_MOUNT: Named(count=1, paths=("/srv/work/file",)),
        }
        assert owner(twin) == ROOT

    in_work(body)


@pytest.mark.parametrize("lower_is_another_file_system", [False, True])
def test_on_an_overlay_all_change_hands_and_mounts_are_still_seen(lower_is_another_file_system):
    """A container's root file system: over two file systems, files show foreign device numbers."""

    def body(work):
        base = work.parent
        for name in ("lower", "layers", "other"):
            (base / name).mkdir()
        if lower_is_another_file_system:
            mount("tmpfs", base / "lower", "tmpfs", 0, "mode=0755")
        for name in ("upper", "temporary"):
            (base / "layers" / name).mkdir()
        entries = fill(base / "lower", directories=6, files=20, depth=2)
        (base / "other/victim").touch()
        layers = f"upperdir={base}/layers/upper,workdir={base}/layers/temporary"
        mount("overlay", work, "overlay", 0, f"lowerdir={base}/lower,{layers}")
        bind(base / "other", work / "dir0/dir0")
        bind(base / "other/victim", work / "dir1/file0")
        report = take()
        assert report.skipped == {
            Skip.OTHER_MOUNT: Named(count=2, paths=report.skipped[Skip.OTHER_MOUNT].paths)
        }
        assert report.changed == entries - 21 - 1
        assert owners(base / "other") == owners(base / "lower") == {ROOT}
        assert owners(work / "dir2") == owners(work / "dir0/dir1") == {MINE}
        assert take().changed == 0

    in_work(body)


def test_a_read_only_workspace_is_named_if_it_is_the_identitys_and_refused_if_not():
    def body(work):
        fill(work)
        bind(work, work, read_only=True)
        refusal = refusal_of()
        assert refusal.code is codes.READ_ONLY
        assert "read-only" in refusal.cause
        mount("none", "/srv/work", "", 0x1020)  # MS_BIND | MS_REMOUNT: writable again
        os.chown(work, *MINE)
        mount("none", "/srv/work", "", 0x1021)
        assert take().skipped == {Skip.READ_ONLY: Named(count=1, paths=("/srv/work",))}

    in_work(body)


@pytest.mark.parametrize("before", [ROOT, EARLIER, MINE])
def test_privilege_bits_and_file_capabilities_do_not_survive(before):
    def body(work):
        # 02644 is what chown(2) spares: set-group-ID without execute for the group.
        modes = {"suid": 0o4755, "sgid": 0o2755, "both": 0o6711, "lock": 0o2644}
        for name in modes:
            (work / name).touch()
        (work / "cap").touch(mode=0o755)
        (work / "setgid-directory").mkdir()
        everything_of(work, *before)
        for name, mode in modes.items():
            (work / name).chmod(mode)
        (work / "setgid-directory").chmod(0o2755)
        os.setxattr(work / "cap", "security.capability", CAP_NET_RAW_EP)
        report = take()
        assert owners(work) == {MINE}
        left = {name: stat.S_IMODE((work / name).stat().st_mode) for name in modes}
        assert left == {name: mode & 0o1777 for name, mode in modes.items()}
        assert os.listxattr(work / "cap") == []
        assert stat.S_IMODE((work / "setgid-directory").stat().st_mode) == 0o2755
        assert set(report.cleared.paths) >= {f"/srv/work/{name}" for name in modes}
        assert take().cleared.count == 0

    in_work(body)


def test_a_file_capability_that_may_not_be_removed_is_reported():
    import prctl

    def body(work):
        (work / "cap").touch(mode=0o755)
        os.setxattr(work / "cap", "security.capability", CAP_NET_RAW_EP)
        everything_of(work, *MINE)
        os.setxattr(work / "cap", "security.capability", CAP_NET_RAW_EP)
        prctl.cap_effective.setfcap = False
        report = take()
        assert report.skipped == {Skip.FILE_CAPABILITY: Named(count=1, paths=("/srv/work/cap",))}

    in_work(body)


@pytest.mark.parametrize("before", [ROOT, EARLIER])
def test_pipes_devices_and_sockets_change_hands_unopened(before):
    import socket

    def body(work):
        os.mkfifo(work / "fifo")
        os.mknod(work / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(work / "socket"))
            everything_of(work, *before)
            take()
        assert owners(work) == {MINE}

    in_work(body)


@pytest.mark.parametrize("before", [ROOT, EARLIER])
def test_odd_names_change_hands_and_appear_on_one_line(before):
    def body(work):
        names = ["new\nline", "\udcff\udcfe", "-R", "*", "[a]", "back\\slash", " ", "n" * 255]
        for name in names:
            (work / name).touch()
            (work / f"d{name[:250]}").mkdir()
        os.link(work / "new\nline", work.parent / "second")
        everything_of(work, *before)
        report = take()
        named = {"new\nline"}
        assert {owner(work / name) for name in set(names) - named} == {MINE}
        assert {owner(work / f"d{name[:250]}") for name in names} == {MINE}
        assert report.skipped[Skip.HARD_LINK].paths == ("/srv/work/new\\nline",)

    in_work(body)


def test_a_tree_deeper_than_descriptors_and_paths_changes_hands():
    depth = 5000

    def body(work):
        here = os.open(work, os.O_RDONLY)
        for _ in range(depth):
            # Two directories a level, so that the way up is needed as well.
            for name in ("down", "zz-aside"):
                os.mkdir(name, dir_fd=here)
            below = os.open("down", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * walk.OPEN_LEVELS, 2 * walk.OPEN_LEVELS))
        report = take()
        status = os.fstat(here)
        assert (status.st_uid, status.st_gid) == MINE
        assert (report.entries, report.changed) == (2 * depth + 1, 2 * depth + 1)

    in_work(body)


def test_more_directories_in_waiting_than_memory_is_meant_for_are_refused(monkeypatch):
    def body(work):
        monkeypatch.setattr(walk, "PENDING_DIRECTORIES", 5)
        fill(work, directories=5, depth=1)
        assert not take().skipped
        (work / "dir5").mkdir()
        assert refusal_of().code is codes.TOO_MANY_DIRECTORIES

    in_work(body)


def test_descriptors_do_not_leak_whatever_the_outcome():
    def body(work):
        fill(work)
        (work / "link").symlink_to("x")
        before = os.listdir("/proc/self/fd")
        take()
        take()
        refusal_of(deadline_s=0.0)
        refusal_of(path=work / "link")
        bind(work / "dir0", work / "dir0", read_only=True)
        os.chown(work, *EARLIER)
        bind(work, work, read_only=True)
        refusal_of()
        assert os.listdir("/proc/self/fd") == before

    in_work(body)
