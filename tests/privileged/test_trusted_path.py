"""Which symlinks of policy paths are followed: those that root alone can have made."""

import os

import pytest
from support.confined import WORKLOAD, workplace

from supervisor.startup.binary_links import follow
from supervisor.startup.trusted_path import UntrustedLinkError, open_trusted

GROUPS = frozenset({WORKLOAD, 3003})


@pytest.fixture
def root():
    """A directory of root's; /tmp, in which it is, anybody can write."""
    with workplace() as directory:
        yield directory


def locate(path, groups=GROUPS):
    located = open_trusted(str(path), groups)
    try:
        same = os.path.sameopenfile(located.descriptor, os.open(located.path, os.O_PATH))
    finally:
        os.close(located.descriptor)
    assert same
    return located


def test_a_path_without_links_is_where_it_says(root):
    (root / "a" / "b").mkdir(parents=True)
    located = locate(root / "a" / "b")
    assert (located.path, located.links) == (str(root / "a" / "b"), ())
    assert locate("/").path == "/"


def test_the_links_of_a_merged_usr_are_followed_and_reported():
    located = locate("/bin")
    assert (located.path, located.links) == ("/usr/bin", (("/bin", "usr/bin"),))
    assert locate("/lib/os-release/..").path == "/usr/lib"


def test_a_link_of_roots_through_a_directory_that_others_can_write_is_refused(root):
    """An absolute link leads through /tmp."""
    (root / "real").mkdir()
    (root / "link").symlink_to(root / "real")
    with pytest.raises(UntrustedLinkError) as refused:
        locate(root / "link")
    assert str(root) in refused.value.strerror
    assert refused.value.filename == str(root / "link")


def test_relative_links_in_roots_own_directories_are_followed(root):
    (root / "real" / "inner").mkdir(parents=True)
    (root / "link").symlink_to("real/../real/./inner")
    (root / "again").symlink_to("link")
    located = locate(root / "again")
    assert located.path == str(root / "real" / "inner")
    assert [target for _, target in located.links] == ["link", "real/../real/./inner"]


def test_a_link_of_the_workloads_is_refused(root):
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    os.chown(root / "link", WORKLOAD, WORKLOAD, follow_symlinks=False)
    with pytest.raises(UntrustedLinkError):
        locate(root / "link")


@pytest.mark.parametrize(
    ("mode", "owner", "group", "followed"),
    [
        (0o755, 0, 0, True),
        (0o775, 0, 4004, True),  # a group that the workload is not in
        (0o775, 0, 3003, False),
        (0o777, 0, 0, False),
        (0o1777, 0, 0, False),
        (0o755, WORKLOAD, 0, False),
    ],
)
@pytest.mark.parametrize("which", ["of the link", "of the target"])
def test_who_can_write_the_directory_decides(root, mode, owner, group, followed, which):
    link_place, target_place = root / "links", root / "targets"
    link_place.mkdir()
    (target_place / "real").mkdir(parents=True)
    (link_place / "link").symlink_to("../targets/real")
    place = link_place if which == "of the link" else target_place
    os.chown(place, owner, group)
    place.chmod(mode)
    if followed:
        assert locate(link_place / "link").path == str(target_place / "real")
    else:
        with pytest.raises(UntrustedLinkError):
            locate(link_place / "link")


@pytest.mark.parametrize(("group", "followed"), [(0, True), (4004, False)])
def test_before_the_workload_is_known_every_group_but_roots_may_be_its(root, group, followed):
    (root / "file").touch()
    (root / "link").symlink_to("file")
    os.chown(root, 0, group)
    root.chmod(0o775)
    found = follow([str(root / "link"), str(root / "file"), str(root / "absent")])
    if followed:
        assert found == ({str(root / "link"): str(root / "file")}, ())
    else:
        assert found.followed == {}
        (why,) = found.left
        assert why.startswith(f"{root}/link: the link {root}/link is not followed")


def test_what_the_link_names_may_be_the_workloads(root):
    """The rule binds to the directory itself, which the workload may own."""
    (root / "real").mkdir()
    os.chown(root / "real", WORKLOAD, WORKLOAD)
    (root / "link").symlink_to("real")
    assert locate(root / "link").path == str(root / "real")


def test_a_path_through_directories_of_the_workloads_needs_no_trust_without_links(root):
    (root / "home" / "work").mkdir(parents=True)
    os.chown(root / "home", WORKLOAD, WORKLOAD)
    assert locate(root / "home" / "work").path == str(root / "home" / "work")


def test_links_in_circles_end(root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="symbolic links"):
        locate(root / "a")
    assert len(os.listdir("/proc/self/fd")) == before


def test_going_up_from_the_root_stays_there():
    assert locate("/../../usr").path == "/usr"
