"""No variable and no file of an image reaches the privileged interpreter (attacks A7, L15).

The hostile image carries every trick we know of; each of its files announces itself with EVIL.
The last tests run an unpatched loader and libc in the same image: there, the tricks do work.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from support.podman import Mount, image_environment, image_root, run
from support.rooted import RUNTIME, traced

from images.runtime.build import DEBS_LOCK, key_of
from supervisor.fence.request import Served
from supervisor.startup.facts import SIGNS

SELFTEST = Path(__file__).with_name("selftest.py")
LAUNCHER = f"{RUNTIME}/sandbox-supervisor"
PYTHON = f"{RUNTIME}/bin/python3"
# What libc's resolver and account functions read as data. Only the self-test asks for names.
NAME_SERVICE_DATA = frozenset(
    f"/etc/{name}"
    for name in ("hosts", "resolv.conf", "host.conf", "gai.conf", "services", "passwd", "group")
)
ACCOUNTS_AND_WORKSPACE = frozenset(
    {"/etc", "/etc/passwd", "/etc/group", "/sandbox", "/usr/bin/hello", "/dev/termination-log"}
    | {"/etc/.passwd.sandbox-supervisor", "/etc/.group.sandbox-supervisor"}
)
KERNEL_FILES = ("/proc/", "/sys/", "/dev/null")


def mounts_of(runtime):
    return [
        Mount(source=runtime, target=RUNTIME),
        Mount(source=SELFTEST, target="/selftest.py"),
    ]


def evil_lines(result):
    return [
        line for line in result.stderr.splitlines() + result.stdout.splitlines() if "EVIL" in line
    ]


@pytest.mark.parametrize("user", ["0:0", "4242:4242"])
def test_nothing_of_the_hostile_image_runs_or_is_mapped(runtime_dir, images, user):
    done = run(
        images["hostile"],
        *(() if user == "0:0" else ("--cap-drop=ALL", "--read-only")),
        entrypoint=PYTHON,
        command=["/selftest.py"],
        user=user,
        mounts=mounts_of(runtime_dir),
    )

    report = json.loads(done.checked().stdout)
    # the image's variables are quoted in the report as data, and one of them says EVIL
    assert "EVIL" not in done.stderr
    assert report["path"] == report["imported_outside"] == report["mapped_outside"] == []
    assert report["programs"] == [None, None, "hello there"]
    assert report["certificates"] > 100
    assert report["locale_and_time"] == [False, 0, []]


def test_every_variable_of_the_image_arrives_as_data_only(runtime_dir, images, tmp_path):
    declared = image_environment(images["hostile"])
    main = tmp_path / "main.py"
    main.write_text("import json, os; print(json.dumps(dict(os.environ)))\n")
    done = run(
        images["hostile"],
        entrypoint=LAUNCHER,
        mounts=[
            Mount(source=runtime_dir, target=RUNTIME),
            Mount(source=main, target=f"{RUNTIME}/app/main.py"),
        ],
    )

    seen = json.loads(done.checked().stdout)
    assert len(declared) > 25
    for name, value in declared.items():
        assert seen[f"@{name}"] == value
    # baked in as "@SANDBOX_UID": it does not pose as SANDBOX_UID
    assert "@SANDBOX_UID" not in seen
    assert seen["@@SANDBOX_UID"] == "0"
    assert seen["SUPERVISOR_LAUNCHED"] == "1"
    assert seen["PATH"] == f"{RUNTIME}/none"
    assert not [name for name in seen if name.startswith(("LD_", "PYTHON", "GLIBC", "MALLOC"))]


def test_the_command_line_is_not_disturbed_by_the_image(runtime_dir, images):
    done = run(
        images["hostile"],
        entrypoint=LAUNCHER,
        command=["explain", "--json"],
        mounts=mounts_of(runtime_dir),
    )

    assert json.loads(done.checked().stdout)
    assert evil_lines(done) == []


def trace_in_hostile_image(runtime, images, tmp_path, command, **files):
    with image_root(images["hostile"]) as root:
        return traced(
            root,
            runtime,
            command,
            environment=image_environment(images["hostile"]),
            directory="/work",
            scratch=tmp_path,
            files=files,
        )


def named_outside(trace, *, allowed=frozenset()):
    """Calls on paths that are neither in our tree nor the kernel's nor allowed."""
    return sorted(
        {
            f"{named.call} {named.path}"
            for named in trace.paths
            if named.path not in allowed
            and named.path not in ("", "/", "/proc", "/sys", RUNTIME)
            and not named.path.startswith((f"{RUNTIME}/", *KERNEL_FILES))
            and not named.located
        }
    )


def test_starting_names_no_file_outside_the_tree_and_the_kernel(runtime_dir, images, tmp_path):
    command = [LAUNCHER, "explain", "--json"]

    trace = trace_in_hostile_image(runtime_dir, images, tmp_path, command)

    assert json.loads(trace.stdout)
    assert len(trace.paths) > 50
    executed = [named.path for named in trace.paths if named.call == "execve"]
    assert executed == [LAUNCHER, f"{RUNTIME}/lib/sandbox-supervisor"]
    assert named_outside(trace) == []


PROOF = "/.sandbox-proof-"
# What mounting the workload's own /proc and /dev/shm names, and devices that the proof opens: the
# kernel's, not the image's. "file" is relative to a directory of the proof.
TRIED = frozenset({"/dev/shm", "/dev/tty", "/dev/urandom", "file", "none", "proc", "shm", "tmpfs"})
# Whether they exist tells which engine this is; nothing is read from them.
ENGINES = frozenset(f"newfstatat {path}" for path in SIGNS.values())


def unexpected(trace, *allowed):
    """Paths outside of what every run may name and of ``allowed``."""
    lines = [line for line in named_outside(trace) if line not in ENGINES and PROOF not in line]
    named = {line.split()[1] for line in lines if "mode=1777,size=" not in line}
    return sorted(named - ACCOUNTS_AND_WORKSPACE - TRIED - {*allowed})


def test_a_whole_run_names_only_the_account_files_the_workspace_and_the_workload(
    runtime_dir, images, tmp_path
):
    identity = ["--uid", "4242", "--gid", "4242"]
    workload = ["/usr/bin/hello", "there"]
    command = [LAUNCHER, "run", "--mode", "full", *identity, "--", *workload]

    trace = trace_in_hostile_image(runtime_dir, images, tmp_path, command)

    assert (trace.returncode, trace.stdout) == (0, "hello there\n"), trace.stderr
    executed = [named.path for named in trace.paths if named.call.startswith("exec")]
    # The proof's own program, which its confined child tries to run, is none of the image's.
    of_image = [path for path in executed if not path.startswith(PROOF)]
    assert of_image == [LAUNCHER, f"{RUNTIME}/lib/sandbox-supervisor", "/usr/bin/hello"]
    assert unexpected(trace) == []
    assert "EVIL" not in trace.stderr


POLICY = f"""version: 1
network_policies:
  web:
    endpoints: [{{host: echo.upstream.example, port: 80}}]
    binaries: [{{path: {RUNTIME}/lib/sandbox-supervisor}}]
"""
RESOLVING = {"/etc/resolv.conf": "nameserver 198.51.100.1\noptions timeout:1 attempts:1\n"}
# Read for egress before the workload exists, and parsed by it: strictly, without privilege.
READ_FOR_EGRESS = frozenset({"/etc/hosts", "/etc/resolv.conf"})
# The image's own programs do not survive its libraries; the workload is the runtime's Python.
ASKING = f"""
import socket
for address, line in (
    (("203.0.113.5", 80), b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"),
    (("127.0.0.1", {Served().proxy}), b"CONNECT echo.upstream.example:80 HTTP/1.1\\r\\n\\r\\n"),
):
    with socket.socket() as sock:
        sock.settimeout(20)
        sock.connect(address)
        sock.sendall(line)
        print(sock.recv(4096).split()[1].decode())
"""


def test_a_whole_run_with_egress_names_two_more_files_and_executes_nothing_of_the_image(
    runtime_dir, images, tmp_path
):
    """The workload is looked for, hashed and decided; a name is looked up."""
    identity = ["--uid", "4242", "--gid", "4242"]
    policy = ["--policy", "/policy.yaml", "--policy-from-image"]
    workload = [f"{RUNTIME}/bin/python3", "-c", ASKING]
    command = [LAUNCHER, "run", *identity, *policy, "--", *workload]
    files = {"/policy.yaml": POLICY, **RESOLVING}

    trace = trace_in_hostile_image(runtime_dir, images, tmp_path, command, **files)

    assert (trace.returncode, trace.stdout.split()) == (0, ["403", "502"]), trace.stderr
    executed = [named.path for named in trace.paths if named.call.startswith("exec")]
    of_image = [path for path in executed if not path.startswith((PROOF, f"{RUNTIME}/"))]
    assert of_image == []
    assert unexpected(trace, *READ_FOR_EGRESS, "/policy.yaml") == []
    assert "EVIL" not in trace.stderr


def test_every_package_and_the_name_service_read_only_named_data(runtime_dir, images, tmp_path):
    code = (
        f"import sys; sys.path[:] = ['{RUNTIME}/lib/python3.11', "
        f"'{RUNTIME}/lib/python3.11/lib-dynload', '{RUNTIME}/site', '{RUNTIME}/app']\n"
        "import locale, socket, ssl, pwd, prctl, psutil, pyroute2, asyncssh, structlog, idna\n"
        "import ruamel.yaml, cryptography.x509, dns.resolver\n"
        "ssl.create_default_context()\n"
        "for ask in (lambda: socket.getaddrinfo('localhost', 80), lambda: pwd.getpwuid(4242),\n"
        "            lambda: locale.setlocale(locale.LC_ALL, 'C.UTF-8')):\n"
        "    try: ask()\n"
        "    except (OSError, KeyError, locale.Error): pass\n"
        "print('done')\n"
    )

    trace = trace_in_hostile_image(runtime_dir, images, tmp_path, [PYTHON, "-c", code])

    assert trace.stdout == "done\n", trace.stderr
    assert named_outside(trace, allowed=NAME_SERVICE_DATA) == []


@pytest.fixture(scope="module")
def stock_runtime(runtime_dir, tmp_path_factory):
    """The same tree with Debian's loader and libc as they are."""
    packages = runtime_dir.parent / f"cache/root-{key_of(DEBS_LOCK)}"
    tree = tmp_path_factory.mktemp("stock") / "tree"
    shutil.copytree(runtime_dir, tree)
    libraries = packages / "lib/x86_64-linux-gnu"
    shutil.copyfile(libraries / "ld-linux-x86-64.so.2", tree / "lib/sandbox-supervisor")
    shutil.copyfile(libraries / "libc.so.6", tree / "lib/libc.so.6")
    os.chmod(tree / "lib/sandbox-supervisor", 0o755)
    return tree


def test_with_a_stock_loader_the_same_image_does_execute_its_code(stock_runtime, images):
    done = run(
        images["hostile"],
        entrypoint=PYTHON,
        command=["-c", "import pwd; print([pwd.getpwall()][:0])"],
        mounts=mounts_of(stock_runtime),
    )

    assert "EVIL library /evil.so" in evil_lines(done)
    assert any("libnss_evil.so.2" in line for line in evil_lines(done))


def test_with_a_stock_loader_the_trace_shows_the_image(stock_runtime, images, tmp_path):
    trace = trace_in_hostile_image(stock_runtime, images, tmp_path, [PYTHON, "-c", "pass"])

    assert "access /etc/ld.so.preload" in named_outside(trace)
    assert "openat /evil.so" in named_outside(trace)


def test_without_the_empty_zip_the_image_replaces_the_standard_library(
    runtime_dir, images, tmp_path
):
    tree = tmp_path / "tree"
    shutil.copytree(runtime_dir, tree)
    (tree / "lib/python311.zip").unlink()

    done = run(images["hostile"], entrypoint=PYTHON, command=["-c", "pass"], mounts=mounts_of(tree))

    assert any("python311.zip" in line for line in evil_lines(done))
