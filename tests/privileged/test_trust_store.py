"""The trust store: which bundle of the image is taken, what stands behind it, where it is put."""

import os
import subprocess
from pathlib import Path

import pytest
from support.confined import WORKLOAD
from support.forked import CLONE_NEWNS, in_child

from supervisor.errors import Refusal
from supervisor.startup import trust_store
from supervisor.startup.private_mounts import mount_read_only
from supervisor.startup.trust_store import PLACES, RUN_DIRECTORY, compose, place, read_own

FIRST, LAST = PLACES[0], PLACES[-1]
GROUPS = frozenset({WORKLOAD})


def certificate(name):
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n".encode()


def with_files(act, prepare):
    """What ``act`` returns where /etc and /run are empty but for what ``prepare`` puts there."""

    def inside():
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        for path in ("/etc", "/run"):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "x", path], check=True)
        prepare()
        return act()

    return in_child(inside, unshare=CLONE_NEWNS)


def put(path, content, *, owner=0, mode=0o644):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)
    os.chmod(path, mode)
    os.chown(path, owner, owner)


def composed(prepare, *, own=b"", writable=()):
    def act():
        made = compose(own, writable=writable, groups=GROUPS)
        return made.content, made.source, made.problem, made.own

    return with_files(act, prepare)


def test_the_images_bundle_is_taken_and_ours_stands_behind_it():
    content, source, problem, own = composed(
        lambda: put(FIRST, certificate("system").rstrip()), own=certificate("ours")
    )

    assert content == certificate("system") + certificate("ours")
    assert (source, problem, own) == (FIRST, "", 1)


def test_links_that_only_root_can_make_are_followed():
    def links():
        put("/etc/pki/real/bundle", certificate("system"))
        os.makedirs("/etc/ssl")
        os.symlink("../pki/real/bundle", "/etc/ssl/link")
        os.symlink("link", LAST)

    assert composed(links)[:2] == (certificate("system"), "/etc/pki/real/bundle")


def test_an_image_without_a_bundle_has_ours_alone_or_nothing():
    content, source, problem, _ = composed(lambda: None, own=certificate("ours"))

    assert (content, source) == (certificate("ours"), "")
    assert problem == "the image has no certificate bundle where distributions keep it"
    assert composed(lambda: None)[0] == b""


def owned_by_the_workload():
    put(FIRST, certificate("evil"), owner=WORKLOAD)


def writable_by_its_group():
    put(FIRST, certificate("evil"), mode=0o664)
    os.chown(FIRST, 0, WORKLOAD)


def behind_a_link_of_the_workload():
    put("/etc/other", certificate("evil"))
    os.makedirs("/etc/ssl/certs")
    os.symlink("/etc/other", FIRST)
    os.lchown(FIRST, WORKLOAD, WORKLOAD)


def in_a_directory_of_the_workload():
    put("/etc/data/bundle", certificate("evil"))
    os.chown("/etc/data", WORKLOAD, WORKLOAD)
    os.makedirs("/etc/ssl/certs")
    os.symlink("/etc/data/bundle", FIRST)


def where_the_policy_lets_it_write():
    put("/etc/free/bundle", certificate("evil"))
    os.makedirs("/etc/ssl/certs")
    os.symlink("/etc/free/bundle", FIRST)


def without_a_certificate():
    put(FIRST, b"nothing to trust\n")


def too_long():
    put(FIRST, certificate("evil") + b"\n" * trust_store.BUNDLE_BYTES)


def a_pipe_that_nobody_writes():
    os.makedirs("/etc/ssl/certs")
    os.mkfifo(FIRST)


@pytest.mark.parametrize(
    "prepare",
    [
        owned_by_the_workload,
        writable_by_its_group,
        behind_a_link_of_the_workload,
        in_a_directory_of_the_workload,
        where_the_policy_lets_it_write,
        without_a_certificate,
        too_long,
        a_pipe_that_nobody_writes,
    ],
)
def test_a_bundle_that_the_workload_may_have_written_is_passed_over(prepare):
    """attacks.md B18; paired: the next place is taken, and without one the reason is told."""

    def beside():
        prepare()
        put(LAST, certificate("good"))

    assert composed(beside, writable=("/etc/free",))[:2] == (certificate("good"), LAST)
    content, _, problem, _ = composed(prepare, writable=("/etc/free",))
    assert content == b""
    assert problem.startswith(f"{FIRST}: ")


def placed(prepare=lambda: None, *, not_mounted="no mount", writable=()):
    def act():
        bundle = compose(certificate("ours"), writable=(), groups=GROUPS)
        store = place(bundle, not_mounted=not_mounted, writable=writable)
        content = Path(store.path).read_bytes() if store.path.startswith("/run") else b""
        return store.path, store.problem, content, store.variables

    return with_files(act, prepare)


def test_where_nothing_can_be_mounted_it_is_roots_file_in_our_run_directory():
    path, problem, content, variables = placed()

    assert (path, problem) == (f"{RUN_DIRECTORY}/ca-bundle.pem", "")
    assert content == certificate("ours")
    assert variables["SSL_CERT_FILE"] == path
    assert placed(not_mounted=None)[0] == f"{trust_store.mount_point()}/ca-bundle.pem"


def test_a_second_start_in_the_same_container_replaces_it():
    def earlier():
        put(f"{RUN_DIRECTORY}/ca-bundle.pem", certificate("earlier"), mode=0o444)

    assert placed(earlier)[2] == certificate("ours")


def test_what_stands_in_its_way_is_replaced_and_not_written_through():
    def linked():
        put("/etc/precious", b"kept")
        os.mkdir(RUN_DIRECTORY, 0o755)
        os.symlink("/etc/precious", f"{RUN_DIRECTORY}/.ca-bundle.pem")
        os.symlink("/etc/precious", f"{RUN_DIRECTORY}/ca-bundle.pem")

    def act():
        store = place(
            compose(certificate("ours"), writable=(), groups=GROUPS),
            not_mounted="no mount",
            writable=(),
        )
        return store.path, Path(store.path).is_symlink(), Path("/etc/precious").read_bytes()

    assert with_files(act, linked) == (f"{RUN_DIRECTORY}/ca-bundle.pem", False, b"kept")


def a_strangers_directory():
    os.mkdir(RUN_DIRECTORY)
    os.chown(RUN_DIRECTORY, WORKLOAD, WORKLOAD)


def a_link_to_somewhere_else():
    os.mkdir("/etc/elsewhere")
    os.symlink("/etc/elsewhere", RUN_DIRECTORY)


@pytest.mark.parametrize("prepare", [a_strangers_directory, a_link_to_somewhere_else])
def test_a_run_directory_that_others_made_is_not_used(prepare):
    path, problem, _, variables = placed(prepare)

    assert (path, variables) == ("", {})
    assert RUN_DIRECTORY in problem


def test_a_run_directory_that_the_policy_opens_is_not_used():
    path, problem, _, _ = placed(writable=("/run",))

    assert path == ""
    assert "the policy lets the workload write" in problem


def test_nothing_is_offered_while_it_only_repeats_what_the_image_has():
    def act():
        put(FIRST, certificate("system"))
        store = place(compose(b"", writable=(), groups=GROUPS), not_mounted="no mount", writable=())
        return store.path, store.variables

    assert with_files(act, lambda: None) == (f"{RUN_DIRECTORY}/ca-bundle.pem", {})


def test_what_is_mounted_cannot_be_changed_even_by_root(tmp_path):
    def act():
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        mount_read_only(str(tmp_path), 1 << 16, lambda at: trust_store.write(b"kept", at))
        file = tmp_path / "ca-bundle.pem"
        with pytest.raises(OSError, match="Read-only"):
            file.unlink()
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "more").write_bytes(b"")
        return file.read_bytes(), oct(file.stat().st_mode)[-3:]

    assert in_child(act, unshare=CLONE_NEWNS) == (b"kept", "444")


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (b"no certificate", 0o644, "trust.ca-invalid"),
        (certificate("ours") + b"-----BEGIN PRIVATE KEY-----\n", 0o600, "trust.ca-invalid"),
        (certificate("ours") + b"\n" * trust_store.OWN_BYTES, 0o644, "trust.ca-invalid"),
        (certificate("ours"), 0o666, "trust.ca-untrusted"),
        (None, 0, "trust.ca-missing"),
    ],
)
def test_a_file_of_extra_ca_that_is_not_certificates_of_the_operator_is_refused(
    content, mode, code
):
    def act():
        subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True)
        if content is not None:
            put("/mnt/ca.pem", content, mode=mode)
        with pytest.raises(Refusal) as refused:
            read_own("/mnt/ca.pem")
        return refused.value.code.name

    assert with_files(act, lambda: None) == code


def test_the_operators_file_is_taken_as_it_is():
    def act():
        subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True)
        put("/mnt/ca.pem", certificate("ours"))
        return read_own("/mnt/ca.pem"), read_own(None)

    assert with_files(act, lambda: None) == (certificate("ours"), b"")
