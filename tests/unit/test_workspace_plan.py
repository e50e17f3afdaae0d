"""Planning the workspace is pure: these tests touch no file."""

import dataclasses

import pytest

from supervisor.errors import Refusal
from supervisor.workspace import codes
from supervisor.workspace.plan import (
    EnsureDirectory,
    Existing,
    GivenBy,
    Owner,
    TakeOver,
    ValidateAsIdentity,
    WorkspaceRequest,
    plan,
)
from supervisor.workspace.protected import TABLE, canonical

OWNER = Owner(uid=4242, gid=4243, groups=(4300,))


def request(**changes):
    base = WorkspaceRequest(
        owner=OWNER, supervisor_tree="/.supervisor", capabilities=frozenset({"CHOWN"})
    )
    return dataclasses.replace(base, **changes)


def refused(**changes):
    with pytest.raises(Refusal) as caught:
        plan(request(**changes))
    return caught.value


def test_by_default_sandbox_is_made_the_identitys_and_nothing_else_happens():
    (step,) = plan(request())
    assert isinstance(step, EnsureDirectory)
    assert (step.path, step.existing, step.may_create) == ("/sandbox", Existing.OWN, True)
    assert step.owner == OWNER
    assert step.may_chown


def test_without_the_capability_no_step_may_chown():
    steps = plan(request(capabilities=frozenset(), identity_given_by_driver=True))
    assert [step.may_chown for step in steps] == [False, False]


def test_a_driver_given_identity_takes_sandbox_over_even_if_the_workdir_is_elsewhere():
    steps = plan(
        request(workdir="/work", workdir_given_by=GivenBy.ARGUMENT, identity_given_by_driver=True)
    )
    assert [(type(step), step.path) for step in steps] == [
        (EnsureDirectory, "/work"),
        (TakeOver, "/sandbox"),
    ]


def test_a_workdir_from_the_image_is_only_validated_and_comes_before_policy_paths():
    steps = plan(
        request(workdir="/app", workdir_given_by=GivenBy.IMAGE, read_write=("/data", "/tmp"))
    )
    assert [(type(step), step.path) for step in steps] == [
        (ValidateAsIdentity, "/app"),
        (EnsureDirectory, "/data"),
        (EnsureDirectory, "/tmp"),
    ]


def test_sandbox_is_ours_to_prepare_even_when_the_image_names_it():
    (step,) = plan(request(workdir="/sandbox", workdir_given_by=GivenBy.IMAGE))
    assert isinstance(step, EnsureDirectory)


def test_policy_paths_keep_their_owner_and_are_planned_once_each():
    steps = plan(request(read_write=("/data/", "/data", "/sandbox", "/dev/null")))
    assert [(step.path, step.may_create) for step in steps[1:]] == [
        ("/data", True),
        ("/dev/null", False),
    ]
    assert all(step.existing is Existing.KEEP for step in steps[1:])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.path)
def test_a_protected_path_is_no_workspace_and_the_reason_is_told(row):
    refusal = refused(workdir=row.path, workdir_given_by=GivenBy.ARGUMENT)
    assert refusal.code is codes.PROTECTED
    assert row.why in refusal.cause


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.path)
def test_below_a_protected_path_only_whole_trees_are_refused(row):
    inside = row.path.rstrip("/") + "/mine"
    changes = {"workdir": inside, "workdir_given_by": GivenBy.ARGUMENT}
    if row.whole_tree:
        assert refused(**changes).code is codes.PROTECTED
    else:
        assert plan(request(**changes))[0].path == inside


@pytest.mark.parametrize("path", ["/opt/supervisor", "/opt/supervisor/lib", "/opt"])
def test_the_supervisors_tree_what_holds_it_and_what_is_in_it_are_refused(path):
    tree = {"supervisor_tree": "/opt/supervisor"}
    assert refused(read_write=(path,), **tree).code is codes.PROTECTED
    assert refused(workdir=path, workdir_given_by=GivenBy.ARGUMENT, **tree).code is codes.PROTECTED
    assert plan(request(read_write=("/opt/supervisor2",), **tree))[1].path == "/opt/supervisor2"


@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/proc", "/sys", "/dev", "/home", "/run"])
def test_a_policy_cannot_make_a_whole_system_directory_writable(path):
    assert refused(read_write=(path,)).code is codes.PROTECTED


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data",
        "./data",
        "/a/../b",
        "/a/..",
        "/a/./b",
        "//a",
        "/a//b",
        "/a\0b",
        "//",
        "/..",
        "/a\ud800",
    ],
)
def test_a_path_that_is_not_in_its_shortest_form_is_refused(path):
    assert refused(read_write=(path,)).code is codes.NOT_CANONICAL


def test_too_long_a_path_or_name_is_refused_before_the_kernel_is_asked():
    assert canonical("/" + "n" * 255)
    with pytest.raises(Refusal, match="255"):
        canonical("/" + "n" * 256)
    with pytest.raises(Refusal, match="4095"):
        canonical("/n" * 2048)


def test_odd_names_are_names_and_a_trailing_slash_says_nothing():
    odd = "/data/new\nline[*]\\\udcff"
    assert canonical(odd + "/") == odd
    assert canonical("/") == "/"


def test_every_step_says_what_it_does_and_why():
    steps = plan(
        request(
            workdir="/app",
            workdir_given_by=GivenBy.IMAGE,
            identity_given_by_driver=True,
            read_write=("/data", "/dev/null"),
        )
    )
    assert [step.describe() for step in steps] == [
        "validate /app as 4242:4243; the image names it as its working directory",
        (
            "take over /sandbox for 4242:4243; the driver chose the identity, so files of an earlier "
            "one may lie there"
        ),
        (
            "directory /data: create if missing; if there, keep its owner; "
            "the policy lets the workload write there"
        ),
        (
            "directory /dev/null: must exist; if there, keep its owner; "
            "the policy lets the workload write there"
        ),
    ]
