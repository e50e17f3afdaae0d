"""``identity`` as a command: its output, its exits, and who it finds itself to be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.forked import CLONE_NEWUSER, in_child
from support.identities import GROUP, PASSWD

from supervisor.errors import Refusal
from supervisor.identity.account_files import read_accounts
from supervisor.identity.decide import decide
from supervisor.identity.inputs import IdentityInputs, own_ids, with_arguments
from supervisor.identity.mapped import check_identity_mapped
from supervisor.kernel.libc import check, libc

HERE = str(Path(__file__).parents[2])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    (tmp_path / "etc/group").write_bytes(GROUP)
    return tmp_path


def identity(
    root: Path, *extra: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "supervisor", "identity", "--root", str(root), *extra],
        env={"PATH": os.defpath, **(environment or {})},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_is_one_object_with_the_promised_keys(root: Path) -> None:
    done = identity(root, "--json", environment={"SANDBOX_IMAGE_USER": "app"})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["uid", "gid", "groups", "user", "home", "shell", "sources"]
    assert answer["uid"] == 1000
    assert answer["gid"] == 1001
    assert answer["groups"] == [44, 50]
    assert (answer["user"], answer["home"], answer["shell"]) == ("app", "/home/app", "/bin/bash")
    assert answer["sources"]["uid"] == "the user of SANDBOX_IMAGE_USER"


def test_the_table_names_value_and_source_and_warns_on_stderr(root: Path) -> None:
    done = identity(root, "--uid", "500", "--gid", "4243")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["uid", "500", "(--uid)"]
    assert done.stderr.startswith("sandbox-supervisor: warning: uid 500 is below 1000")


def test_a_refusal_is_one_object_and_exit_1(root: Path) -> None:
    done = identity(root, "--json", environment={"SANDBOX_UID": "0", "SANDBOX_GID": "0"})
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"code", "cause", "remedy"}
    assert error["code"] == "identity.root"
    assert "SANDBOX_UID is 0" in error["cause"]
    assert done.stderr == ""


def test_a_refusal_without_json_is_for_people(root: Path) -> None:
    done = identity(root, environment={"SANDBOX_UID": "1000"})
    assert done.returncode == 1
    assert done.stdout == ""
    assert "identity.half-pair" in done.stderr
    assert "remedy:" in done.stderr


@pytest.mark.parametrize("argv", [["--uid"], ["--nonsense"], ["surplus"]])
def test_a_wrong_usage_is_exit_2(root: Path, argv: list[str]) -> None:
    assert identity(root, *argv).returncode == 2


def test_an_empty_list_of_groups_is_none(root: Path) -> None:
    done = identity(root, "--json", "--uid", "app", "--gid", "app", "--groups", "")
    assert json.loads(done.stdout)["groups"] == []


@pytest.mark.parametrize("uid", ["-1", "٣", "1000:0", "\x1b[2J"])
def test_an_odd_argument_reaches_the_parser_and_is_quoted(root: Path, uid: str) -> None:
    done = identity(root, "--json", "--uid", uid, "--gid", "5")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "identity.bad-id"
    assert "\x1b" not in done.stdout


def test_an_undecodable_variable_is_refused_not_fatal(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "identity", "--json", "--root", str(root)],
        env={b"PATH": b"/bin", b"SANDBOX_UID": b"\xff1000", b"SANDBOX_GID": b"1000"},
        cwd=HERE,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "identity.bad-id"


def decided_by_myself(root: Path, uid: str | None = None, gid: str | None = None) -> object:
    """The decision of this very process, as (uid, gid, groups) or as the name of a code."""
    try:
        inputs = with_arguments(IdentityInputs(), uid=uid, gid=gid, groups=None, process=own_ids())
        found = decide(inputs, read_accounts(str(root)))
        check_identity_mapped(found)
    except Refusal as refusal:
        return refusal.code.name
    return found.uid, found.gid, found.groups


def test_root_without_an_identity_is_refused(root: Path) -> None:
    assert decided_by_myself(root) == "identity.none-given"


@pytest.mark.parametrize(
    ("groups", "uid", "gid", "expected"),
    [
        ([], None, None, (4242, 4243, ())),
        ([4243], "4242", "4243", (4242, 4243, ())),
        ([], "4242", "4244", "identity.process-differs"),
        ([], "4244", "4243", "identity.process-differs"),
        ([27], None, None, "identity.process-groups"),
        ([0], "4242", "4243", "identity.process-groups"),
    ],
)
def test_an_unprivileged_process_is_itself_or_refused(
    root: Path, groups: list[int], uid: str | None, gid: str | None, expected: object
) -> None:
    os.chmod(root, 0o755)

    def unprivileged() -> object:
        os.chdir(root)
        os.setgroups(groups)
        os.setresgid(4243, 4243, 4243)
        os.setresuid(4242, 4242, 4242)
        return decided_by_myself(Path(), uid, gid)

    assert in_child(unprivileged) == expected


def test_a_process_with_mixed_ids_is_refused(root: Path) -> None:
    def setuid_like() -> object:
        os.setresuid(4242, 0, 0)
        return decided_by_myself(root, "4242", "4242")

    assert in_child(setuid_like) == "identity.mixed-process-ids"


def test_an_id_outside_the_user_namespace_is_refused(root: Path) -> None:
    def as_root_of_one_id() -> tuple[object, object]:
        check(libc.unshare(CLONE_NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text("0 0 1\n")
        Path("/proc/self/gid_map").write_text("0 0 1\n")
        return decided_by_myself(root, "4242", "4242"), os.getuid()

    assert in_child(as_root_of_one_id) == ("identity.not-mapped", 0)


def test_deciding_loads_no_heavy_module() -> None:
    program = (
        "import sys\n"
        "import supervisor.identity.decide, supervisor.identity.account_files\n"
        "heavy = {'json', 'asyncio', 'subprocess', 'logging', 'argparse', 'pyroute2', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {HERE!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"
