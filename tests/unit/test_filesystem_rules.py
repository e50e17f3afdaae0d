"""Policy paths to Landlock rules: merging, overlap, compatibility."""

import pytest

from policy.words import CONTROLS
from supervisor.errors import Refusal
from supervisor.kernel import landlock
from supervisor.startup.filesystem_rules import (
    READ,
    READ_AND_WRITE_FILES,
    READ_WRITE,
    BaselinePath,
    check_overlaps,
    losses,
    path_rules,
)

BASELINE = (
    BaselinePath("/usr", write=False, reason="programs"),
    BaselinePath("/proc", write=False, reason="runtimes"),
    BaselinePath("/dev/null", write=True, reason="device"),
)


def rules(read_only=(), read_write=(), workdir=None, **more):
    found = path_rules(
        read_only=read_only, read_write=read_write, workdir=workdir, baseline=BASELINE, **more
    )
    return {rule.path: (rule.rights, rule.source) for rule in found}


def test_policy_workdir_and_baseline_are_merged():
    assert rules(["/data"], ["/tmp"], "/work") == {
        "/data": (READ, "policy"),
        "/dev/null": (READ_WRITE, "baseline"),
        "/proc": (READ, "baseline"),
        "/tmp": (READ_WRITE, "policy"),
        "/usr": (READ, "baseline"),
        "/work": (READ_WRITE, "workdir"),
    }


def test_a_path_that_the_policy_names_is_as_the_policy_says():
    assert rules(["/dev/null"])["/dev/null"] == (READ, "policy")
    assert rules([], ["/usr"])["/usr"] == (READ_WRITE, "policy")


def test_a_workdir_that_the_policy_makes_writable_stays_the_policys():
    assert rules([], ["/work"], "/work")["/work"] == (READ_WRITE, "policy")


@pytest.mark.parametrize(
    ("read_only", "read_write", "workdir"),
    [
        (["/data/fixed"], ["/data"], None),
        (["/data/a/b"], ["/data"], None),
        (["/work/fixed"], [], "/work"),
        (["/work"], [], "/work"),
        (["/dev/null/x"], [], None),
    ],
)
def test_read_only_inside_writable_is_refused(read_only, read_write, workdir):
    with pytest.raises(Refusal) as refusal:
        rules(read_only, read_write, workdir)
    assert refusal.value.code.name == "startup.paths-overlap"
    assert read_only[0] in refusal.value.cause


@pytest.mark.parametrize(
    ("read_only", "read_write"),
    [(["/data"], ["/data/rw"]), (["/data"], ["/database"]), ([], ["/usr/local"])],
)
def test_writable_inside_read_only_is_fine(read_only, read_write):
    assert rules(read_only, read_write)[read_write[0]] == (READ_WRITE, "policy")


@pytest.mark.parametrize("workdir", ["/", "/proc", "/proc/self"])
def test_an_unsuitable_workdir_is_refused(workdir):
    with pytest.raises(Refusal) as refusal:
        rules(workdir=workdir)
    assert refusal.value.code.name == "startup.workdir-unsuitable"


def test_nested_sandboxes_may_write_files_of_proc_and_nothing_else_changes():
    plain, nested = rules(), rules(nested_sandbox=True)
    assert nested.pop("/proc") == (READ_AND_WRITE_FILES, "baseline")
    del plain["/proc"]
    assert nested == plain


def test_overlap_is_judged_where_the_paths_really_are():
    found = path_rules(read_only=["/view"], read_write=["/data"], workdir=None, baseline=())
    places = {"/view": "/data/real", "/data": "/data"}
    with pytest.raises(Refusal, match=r"/data/real is read-only inside /data"):
        check_overlaps(tuple((places[rule.path], rule) for rule in found))


def test_writing_is_every_right_but_device_nodes():
    everything = landlock.bits(landlock.FILESYSTEM, landlock.KNOWN_ABI)
    assert everything == 0xFFFF
    assert everything & ~READ_WRITE == landlock.MAKE_CHAR | landlock.MAKE_BLOCK
    assert landlock.names(landlock.FILESYSTEM, READ) == ("execute", "read_file", "read_dir")


@pytest.mark.parametrize(
    ("version", "lost"),
    [
        (3, ["ioctl_dev", "abstract_unix_socket", "signal"]),
        (4, ["ioctl_dev", "abstract_unix_socket", "signal"]),
        (5, ["abstract_unix_socket", "signal"]),
        (6, []),
        (7, []),
        (12, []),
    ],
)
def test_what_an_older_kernel_lacks_is_listed(version, lost):
    for level in ("hard_requirement", "best_effort"):
        assert [loss.name for loss in losses(version, level, "")] == lost


def test_the_lost_scopes_are_a_control_that_the_policy_can_name():
    named = {loss.name: loss.control for loss in losses(4, "hard_requirement", "")}
    assert named.pop("ioctl_dev") == ""
    assert set(named.values()) == {"landlock-scopes"} <= set(CONTROLS)


@pytest.mark.parametrize(("version", "reason"), [(0, "not supported"), (1, ""), (2, "")])
def test_a_kernel_that_cannot_keep_read_only_is_refused(version, reason):
    with pytest.raises(Refusal) as refusal:
        losses(version, "hard_requirement", reason)
    assert refusal.value.code.name == "startup.landlock-missing"
    assert reason in refusal.value.cause


def test_best_effort_says_what_it_lost_and_who_permitted_it():
    (all_of_it,) = losses(0, "best_effort", "Function not implemented")
    assert all_of_it.name == "landlock"
    assert "Function not implemented" in all_of_it.meaning
    assert all_of_it.permitted_by == "landlock.compatibility: best_effort"
    found = losses(2, "best_effort", "")
    assert [loss.name for loss in found] == [
        "truncate",
        "ioctl_dev",
        "abstract_unix_socket",
        "signal",
    ]


def test_rights_follow_the_abi():
    assert [landlock.bits(landlock.FILESYSTEM, version) for version in range(9)] == [
        0,
        0x1FFF,
        0x3FFF,
        0x7FFF,
        0x7FFF,
        0xFFFF,
        0xFFFF,
        0xFFFF,
        0xFFFF,
    ]
    assert [landlock.bits(landlock.SCOPES, version) for version in (5, 6, 7)] == [0, 3, 3]
