"""What an image, a volume or an earlier run prepared against the start (attacks.md 4A to 4C)."""

import json
import os
import struct
from pathlib import Path

import psutil
import pytest
from support.podman import running
from support.records import events_of
from support.sandbox import (
    DEBIAN,
    ENTRYPOINT,
    IDENTITY,
    mounts,
    refusal_of,
    sandbox,
    sandboxed,
    wait_for,
)

# struct vfs_cap_data, revision 2, effective bit, cap_net_raw (include/uapi/linux/capability.h)
CAP_NET_RAW_EP = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
HOSTILE_PASSWD = "4242:x:0:0::/root:/bin/sh\nagent:x:0:0::/:/bin/sh\nagent:x:7:7::/:/bin/sh\njunk\n"


def report_of(result) -> dict:
    """The containment report that was logged."""
    events = events_of(result.checked().stderr)
    return next(event["report"] for event in events if event["event"] == "sandbox.started")


def core_limit(pid: int) -> list[str]:
    """Soft and hard limit of core files."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_a_planted_workspace_changes_hands_and_nothing_outside_does(tmp_path):
    """B1, B2, B3, B17: a persistent workspace as an earlier workload may have left it."""
    outside, work, nested = (tmp_path / name for name in ("outside", "work", "nested"))
    for directory in (outside, work, nested):
        directory.mkdir(mode=0o755)
    for path in (outside / "secret", outside / "linked", nested / "file", work / "plain"):
        path.write_text("x")
    (work / "nested").mkdir()
    (work / "to-file").symlink_to(outside / "secret")
    (work / "to-etc").symlink_to("/etc")
    os.link(outside / "linked", work / "linked")
    for name in ("suid", "capable"):
        (work / name).write_text("x")
    (work / "suid").chmod(0o4755)
    os.setxattr(work / "capable", "security.capability", CAP_NET_RAW_EP)

    script = (
        "exec 2>/dev/null; echo more >> plain; stat -c %u /etc; cat linked; ! echo more >> linked"
    )
    result = sandboxed(
        "sh", "-c", script,
        options=(f"--volume={work}:/sandbox", f"--volume={nested}:/sandbox/nested"),
    )  # fmt: skip
    told = report_of(result)["workspace"]

    assert result.stdout.split() == ["0", "x"]
    assert (work / "plain").read_text() == "xmore\n"
    assert {owner(work / name) for name in ("plain", "suid", "capable", "to-etc")} == {IDENTITY}
    assert [owner(outside / name) for name in ("secret", "linked")] == [0, 0]
    assert owner(nested / "file") == 0
    assert (work / "suid").stat().st_mode & 0o7000 == 0
    assert "security.capability" not in os.listxattr(work / "capable")
    assert "/sandbox/suid" in told["cleared"]["paths"]  # chown(2) itself took the capability
    left = [path for named in told["skipped"].values() for path in named["paths"]]
    assert {"/sandbox/linked", "/sandbox/nested"} <= set(left)


@pytest.mark.parametrize("held_by", [0, IDENTITY], ids=["root's", "the workload's"])
def test_a_hostile_passwd_names_nobody_and_does_not_touch_a_number(held_by, tmp_path):
    """A7: the account files say that 4242 is root, say a name twice, or belong to the workload."""
    for name in ("passwd", "group"):
        (tmp_path / name).write_text(HOSTILE_PASSWD)
        os.chown(tmp_path / name, held_by, held_by)
    options = [f"--volume={tmp_path}/{name}:/etc/{name}" for name in ("passwd", "group")]

    by_name = sandboxed("id", identity=("--uid=agent", "--gid=agent"), options=options)
    by_number = sandboxed(
        "sh", "-c", "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status; echo $HOME",
        options=options,
    )  # fmt: skip

    assert by_name.returncode == 125
    assert refusal_of(by_name)["code"] in {"identity.ambiguous-account", "identity.file-untrusted"}
    lines = by_number.checked().stdout.splitlines()
    assert [line.split()[1:] for line in lines[:3]] == [["4242"] * 4, ["4242"] * 4, []]
    assert lines[4] == "/sandbox"
    assert (tmp_path / "passwd").read_text() == HOSTILE_PASSWD


def test_the_workload_cannot_have_a_gid_of_the_helpers():
    """A11; A9, the uid, is with the attacks from inside."""
    result = sandboxed("id", identity=("--uid=4242", "--gid=64999"))

    assert (result.returncode, refusal_of(result)["code"]) == (125, "identity.reserved-id")


def test_a_path_that_does_not_exist_yet_is_made_or_refused_and_never_forgotten(tmp_path):
    """B11, T26, T49."""
    policy = tmp_path / "policy.yaml"
    options = (f"--volume={tmp_path}:/policy:ro",)

    def under(text):
        policy.write_text(f"version: 1\nfilesystem_policy:\n  include_workdir: true\n{text}")
        script = "echo x > /var/made/below/file && stat -c %u /var/made /var/made/below"
        return sandboxed(
            "sh", "-c", script, arguments=("--policy=/policy/policy.yaml",), options=options
        )

    made = under("  read_write: [/var/made/below]\n")
    refused = under("  read_only: [/opt/not-there]\n")

    assert made.checked().stdout.split() == ["0", "4242"]
    assert refused.returncode == 125
    assert refusal_of(refused)["code"] == "startup.paths-unusable"
    assert "/opt/not-there" in refusal_of(refused)["cause"]


def test_nothing_of_ours_dumps_core_and_nobody_of_the_workloads_uid_looks_into_us():
    """C19; the kernel gives /proc/PID of a process that is not dumpable to root."""
    command = ["run", "--log-format=json", "--workdir=/work", "--", "sleep", "300"]
    with running(
        DEBIAN,
        "--mount=type=tmpfs,destination=/work,chown",
        entrypoint=ENTRYPOINT,
        command=command,
        user="4242:4242",
        caps=(),
        mounts=mounts(),
    ) as container:
        pid = container.host_pid()
        while "sandbox.started" not in container.logs().stderr:
            assert psutil.pid_exists(pid), container.logs()
        (workload,) = (
            it for it in psutil.Process(pid).children(recursive=True) if it.name() == "sleep"
        )

        assert core_limit(pid) == core_limit(workload.pid) == ["0", "0"]
        assert owner(Path(f"/proc/{pid}/mem")) == 0
        assert owner(Path(f"/proc/{workload.pid}/mem")) == IDENTITY


def test_doctor_names_setuid_programs_and_other_root_processes():
    """A6, A10: they gain nothing and are seen all the same."""
    with sandbox("sh", "-c", "echo ready; sleep 300") as container:
        wait_for(container, "ready")
        found = container.exec(ENTRYPOINT, "doctor", "--json")

    checks = {check["name"]: check for check in json.loads(found.stdout)}
    assert "they gain nothing" in checks["setuid files"]["detail"]
    assert checks["other root processes"]["found"] == "note"
