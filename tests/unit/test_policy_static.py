"""network.md section 6, cases 1, 10 and 11; attacks.md B11."""

import pytest
from support.loading import codes_of, errors_of, findings_of, loaded

from policy.builtin import BASELINE, closed_policy
from policy.model import Limits, Require, Syscalls


def with_paths(read_only=(), read_write=()):
    return (
        f"version: 1\nfilesystem_policy: {{read_only: {list(read_only)}, "
        f"read_write: {list(read_write)}}}\n"
    )


def test_a_missing_version_is_refused_and_named():
    (finding,) = findings_of("process: {}\n")

    assert finding.code == "policy.missing-key"
    assert "'version'" in finding.message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("version: 1\nfoo: 1\n", "foo"),
        ("version: 1\nlandlock: {mode: x}\n", "landlock.mode"),
        ("version: 1\nprocess: {user: x}\n", "process.user"),
        ("version: 1\nsupervisor: {require: {abi: 4}}\n", "supervisor.require.abi"),
    ],
)
def test_an_unknown_key_at_any_level_is_refused_and_named(text, path):
    (finding,) = findings_of(text)

    assert (finding.code, finding.path) == ("policy.unknown-key", path)


@pytest.mark.parametrize(
    "user", ["root", "0", "4294967295", "01000", "+5", "-1", "1e3", "1000:0", "٣", "Sandbox", "x"]
)
def test_a_user_that_is_neither_sandbox_nor_a_sound_number_is_refused(user):
    assert codes_of(f'version: 1\nprocess: {{run_as_user: "{user}"}}\n') == {"policy.bad-identity"}


@pytest.mark.parametrize("user", ["sandbox", '"1000"', "1000", '"4294967294"', "1"])
def test_sandbox_and_numbers_are_users(user):
    policy = loaded(f"version: 1\nprocess: {{run_as_user: {user}, run_as_group: {user}}}\n")

    assert policy.process.run_as_user == user.strip('"')
    assert policy.process.run_as_group == user.strip('"')


@pytest.mark.parametrize("path", ["/", "//", "/./", "/proc", "/proc/sys", "//proc//self"])
def test_the_root_and_proc_are_never_writable(path):
    assert codes_of(with_paths(read_write=[path])) == {"policy.bad-path"}


@pytest.mark.parametrize("path", ["relative", "./x", "/a/../b", "/..", "~/x"])
def test_a_path_that_is_not_plainly_absolute_is_refused(path):
    assert codes_of(with_paths(read_only=[path])) == {"policy.bad-path"}


def test_4096_bytes_are_a_path_and_one_more_is_not():
    assert not codes_of(with_paths(read_only=["/" + "a" * 4095]))
    assert codes_of(with_paths(read_only=["/" + "a" * 4096]))
    assert codes_of(with_paths(read_only=["/" + "é" * 2048])) == {"policy.bad-path"}


def test_256_paths_are_read_and_257_are_refused():
    half = [f"/a/{number}" for number in range(128)]

    assert not codes_of(with_paths(half, [f"/b/{number}" for number in range(128)]))
    assert codes_of(with_paths(half, [f"/b/{number}" for number in range(129)])) == {
        "policy.out-of-range"
    }
    assert codes_of(with_paths([f"/a/{number}" for number in range(257)])) == {
        "policy.out-of-range"
    }


def test_paths_are_normalised_and_kept_once_with_their_place():
    policy = loaded("""
        version: 1
        filesystem_policy:
          read_only:
            - /opt//tools/./
            - /opt/tools
        """)

    (entry,) = policy.filesystem.read_only
    assert entry.path == "/opt/tools"
    assert str(entry.origin) == "policy.yaml:5:7"


@pytest.mark.parametrize(
    ("inner", "outer"), [("/home/agent/.ssh", "/home/agent"), ("/tmp", "/tmp"), ("/a/b/c", "/a")]
)
def test_read_only_inside_read_write_is_an_error_because_landlock_cannot_express_it(inner, outer):
    assert codes_of(with_paths([inner], [outer])) == {"policy.path-overlap"}


def test_read_write_inside_read_only_is_fine_and_a_common_prefix_is_no_overlap():
    assert not codes_of(with_paths(["/srv", "/tmpfiles"], ["/srv/data", "/tmp"]))


def test_an_unstated_landlock_level_is_hard_requirement():
    assert loaded("version: 1\n").landlock == "hard_requirement"
    assert loaded("version: 1\nlandlock: {}\n").landlock == "hard_requirement"
    assert loaded("version: 1\nlandlock: {compatibility: best_effort}\n").landlock == "best_effort"


@pytest.mark.parametrize("word", ["Best_Effort", "besteffort", "none", '""'])
def test_an_unknown_landlock_level_is_refused(word):
    assert errors_of(f"version: 1\nlandlock: {{compatibility: {word}}}\n") == [
        ("policy.unknown-word", 2)
    ]


def test_workdir_is_included_without_the_section_and_excluded_by_a_section_that_does_not_say_so():
    assert loaded("version: 1\n").filesystem.include_workdir is True
    assert loaded("version: 1\nfilesystem_policy: {}\n").filesystem.include_workdir is False


def test_the_supervisor_section_is_read():
    extensions = loaded("""
        version: 1
        supervisor:
          require: {fence: namespace, landlock_abi: 5, controls: [pid-namespace]}
          accept: [drift-detection]
          limits: {nofile: 4096, fsize: 1073741824, nproc: 500}
          loopback: [5432, 3000, 3000]
          syscalls: {nested_sandbox: true}
        """).supervisor

    assert extensions.require == Require(
        fence="namespace", landlock_abi=5, controls=frozenset({"pid-namespace"})
    )
    assert extensions.accept == frozenset({"drift-detection"})
    assert extensions.limits == Limits(nofile=4096, fsize=1 << 30, nproc=500)
    assert extensions.loopback == (3000, 5432)
    assert extensions.syscalls == Syscalls(nested_sandbox=True, debugger=False)


def test_an_empty_loopback_list_closes_every_port_and_an_absent_one_none():
    assert loaded("version: 1\nsupervisor: {loopback: []}\n").supervisor.loopback == ()
    assert loaded("version: 1\nsupervisor: {}\n").supervisor.loopback is None


def test_a_control_cannot_be_required_and_dispensable():
    text = "version: 1\nsupervisor: {require: {controls: [private-proc]}, accept: [private-proc]}\n"

    assert codes_of(text) == {"policy.contradiction"}


def test_core_dumps_cannot_be_allowed():
    assert codes_of("version: 1\nsupervisor: {limits: {core: 1}}\n") == {"policy.unknown-key"}


def test_the_built_in_policy_allows_no_network_and_writes_only_to_tmp_and_the_workdir():
    policy = closed_policy()

    assert policy.network_policies == ()
    assert policy.filesystem.include_workdir
    assert [entry.path for entry in policy.filesystem.read_write] == ["/tmp"]
    assert policy.landlock == "hard_requirement"


def test_the_baseline_holds_no_place_where_secrets_are_mounted():
    for entry in BASELINE:
        assert entry.reason
        assert not entry.path.startswith(("/run", "/var", "/home", "/root", "/sys", "/mnt"))
        assert not (entry.write and entry.path.startswith("/proc"))
