"""Programs of every day through the entrypoint, in real containers of every form.

They are the machine's own, whose /usr the container gets read-only: an image with a browser, a
database and compilers would be a gigabyte more. One form by day, the others by night.
"""

import base64
import hashlib
import os
import shutil
import zipfile
from dataclasses import replace

import pytest
from support.attack_forms import COMBINED, forms
from support.sandbox import IDENTITY, sandboxed

DAY = "sys-admin"
FORMS = [
    name if name == DAY else pytest.param(name, marks=pytest.mark.nightly) for name in COMBINED
]
# What programs below /usr read beside it, where Debian keeps it.
CONFIGURATION = ("alternatives", "chromium", "chromium.d", "fonts", "postgresql-common")
PLACE = "/job"
POLICY = "version: 1\nfilesystem_policy: {include_workdir: true, read_write: [/tmp]}\n"
TOGGLED = POLICY + "supervisor: {syscalls: {%s: true}}\n"


@pytest.fixture(params=FORMS)
def form(request):
    with forms() as known:
        yield known[request.param]


@pytest.fixture
def work(tmp_path):
    """The workload's directory, and beside it the policy's."""
    directory = tmp_path / "work"
    directory.mkdir()
    (tmp_path / "policy").mkdir()
    tmp_path.chmod(0o755)
    return directory


@pytest.fixture(params=FORMS)
def nesting(request):
    """Engines keep chroot, which a browser's own sandbox needs, from containers without SYS_CHROOT."""
    with forms() as known:
        chosen = known[request.param]
        yield replace(chosen, options=(*chosen.options, "--security-opt=seccomp=unconfined"))


def in_sandbox(form, work, script, toggle=None):
    """Run a shell script there; return what it printed, or fail with it."""
    policy = work.with_name("policy") / "policy.yaml"
    policy.write_text(TOGGLED % toggle if toggle else POLICY)
    for path in (work, *work.iterdir()):
        os.chown(path, IDENTITY, IDENTITY)
    there = [name for name in CONFIGURATION if os.path.exists(f"/etc/{name}")]
    configuration = [f"--volume=/etc/{name}:/etc/{name}:ro" for name in there]
    arguments = [one for one in form.arguments if not one.startswith("--workdir")]
    result = sandboxed(
        "bash", "-euc", f"export HOME={PLACE} TMPDIR={PLACE} LANG=C.UTF-8\n{script}",
        identity=form.identity,
        options=(
            *form.options, *configuration, "--volume=/usr:/usr:ro", "--shm-size=256m",
            f"--volume={work}:{PLACE}", f"--volume={policy.parent}:/run/policy:ro",
        ),
        arguments=(
            *arguments, f"--workdir={PLACE}", "--policy=/run/policy/policy.yaml",
        ),
    )  # fmt: skip
    assert result.returncode == 0, result
    return result.stdout.strip()


def test_bash_with_jobs_pipes_and_here_documents(form, work):
    script = r"""
        sleep 0 & wait $!
        mkfifo pipe; (echo through > pipe) & cat pipe
        cat <<< here; diff <(echo same) <(echo same)
        trap 'echo caught' USR1; kill -USR1 $$
        ls /etc/passwd > /dev/null; test -t 0 || echo no terminal
    """
    assert in_sandbox(form, work, script).split("\n") == [
        "through",
        "here",
        "caught",
        "no terminal",
    ]


def test_git_makes_clones_and_merges(form, work):
    script = """
        git config --global user.name x; git config --global user.email x@example.org
        git init -q one; cd one; echo 1 > file; git add file; git commit -qm first
        git checkout -qb side; echo 2 >> file; git commit -qam second
        cd ..; git clone -q one two; cd two; git merge -q origin/side; git gc -q
        git log --format=%s
    """
    assert in_sandbox(form, work, script).split("\n") == ["second", "first"]


PYTHON = """
import asyncio, concurrent.futures, multiprocessing, socket, sqlite3, ssl, subprocess, tempfile, threading

def square(n):
    return n * n

async def main():
    process = await asyncio.create_subprocess_exec("echo", "async", stdout=subprocess.PIPE)
    return (await process.communicate())[0]

if __name__ == "__main__":
    workers = [threading.Thread(target=square, args=(n,)) for n in range(20)]
    [worker.start() for worker in workers]; [worker.join() for worker in workers]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(square, range(4))))
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, sum(pool.map(square, range(10))))
    print(subprocess.run(["tr", "a", "b"], input="aa", text=True, capture_output=True).stdout)
    print(asyncio.run(main()))
    base = sqlite3.connect("base.sqlite"); base.execute("create table t (x)"); base.commit()
    with tempfile.TemporaryFile(dir=".") as file:
        file.write(b"x"); file.truncate(0)
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    print("lo" in dict(map(reversed, socket.if_nameindex())))
    ssl.create_default_context()
"""


def test_python_with_threads_pools_subprocesses_and_a_database(form, work):
    (work / "main.py").write_text(PYTHON)
    expected = ["[0, 1, 4, 9]", "fork 285", "spawn 285", "forkserver 285", "bb", "b'async\\n'"]
    assert in_sandbox(form, work, "/usr/bin/python3 main.py").split("\n") == [*expected, "True"]


NODE = """
const { Worker, isMainThread, parentPort } = require("worker_threads");
const { execFileSync } = require("child_process");
const fs = require("fs"), net = require("net"), crypto = require("crypto");
if (!isMainThread) { parentPort.postMessage(6 * 7); return; }
const worker = new Worker(__filename);
worker.on("message", async (answer) => {
    console.log(answer);
    console.log(execFileSync("echo", ["child"]).toString().trim());
    await fs.promises.writeFile("out", "x"); fs.watch(".").close();
    crypto.pbkdf2Sync("p", "s", 10, 8, "sha256");
    const server = net.createServer((c) => c.end("hello")).listen(0, "127.0.0.1", () =>
        net.connect(server.address().port).on("data", (d) => console.log(d.toString()))
            .on("close", () => server.close()));
});
"""


def test_node_with_worker_threads_and_a_server(form, work):
    (work / "main.js").write_text(NODE)
    assert in_sandbox(form, work, "node main.js").split("\n") == ["42", "child", "hello"]


def test_gcc_compiles_and_the_result_runs(form, work):
    (work / "main.cc").write_text(
        "#include <iostream>\n#include <thread>\n"
        'int main() { std::thread([] { std::cout << "threaded" << std::endl; }).join(); }\n'
    )
    assert in_sandbox(form, work, "g++ -O2 -pthread main.cc -o main && ./main") == "threaded"


def wheel(directory):
    """A minimal wheel: name, version, one module, and the record that pip checks."""
    files = {
        "tiny.py": b"answer = 42\n",
        "tiny-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
        "tiny-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "tiny-1.dist-info/RECORD,,\n"
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    with zipfile.ZipFile(directory / "tiny-1-py3-none-any.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("tiny-1.dist-info/RECORD", record)


def test_pip_installs_into_a_virtual_environment(form, work):
    wheel(work)
    script = """
        /usr/bin/python3 -m venv --without-pip env
        env/bin/python -m ensurepip > log 2>&1 || { cat log; exit 1; }
        env/bin/python -m pip install -q --no-index --find-links . tiny
        env/bin/python -c 'import tiny; print(tiny.answer)'
    """
    assert in_sandbox(form, work, script) == "42"


POSTGRES = """
    PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
    initdb -D data -A trust -U x > log
    echo "listen_addresses = ''" >> data/postgresql.conf
    pg_ctl -D data -o "-k $PWD" -l server.log -w start >> log
    psql -h "$PWD" -U x -d postgres -Atc 'select sum(x) from generate_series(1, 1000) x'
    pg_ctl -D data -w stop >> log
"""


def test_postgresql_serves_on_a_unix_socket(form, work):
    assert in_sandbox(form, work, POSTGRES) == "500500"


def test_gdb_works_when_the_toggle_allows_it_and_not_otherwise(form, work):
    (work / "main.c").write_text(
        "int answer = 1;\nint main(void) {\n  answer = 42;\n  return 0;\n}\n"
    )
    script = (
        "gcc -g main.c -o main;"
        " gdb -q -batch -ex 'break 4' -ex run -ex 'print answer' ./main 2>&1 || true"
    )
    assert "$1 = 42" in in_sandbox(form, work, script, "debugger")
    closed = in_sandbox(form, work, script)
    assert "ptrace: Operation not permitted" in closed
    assert "$1 = 1" in closed


BROWSER_LIKE = """
    unshare --user --map-root-user --pid --net --ipc --fork bash -c '
        echo root in here: $UID; test -z "$(ip route)"; chroot / true && echo chroot'
"""


def test_a_browsers_own_sandbox_works_when_the_toggle_allows_it(nesting, work):
    output = in_sandbox(nesting, work, BROWSER_LIKE, "nested_sandbox")
    assert output.split("\n") == ["root in here: 0", "chroot"]
    assert "Operation not permitted" in in_sandbox(nesting, work, f"({BROWSER_LIKE}) 2>&1 || true")


CHROMIUM = "timeout 60 chromium --headless --disable-gpu --dump-dom {} file://$PWD/page.html 2>log"


PAGE = "<p id=x></p><script>document.getElementById('x').textContent = 6 * 7</script>"


@pytest.mark.nightly
def test_chromium_renders_without_its_own_sandbox(form, work):
    (work / "page.html").write_text(PAGE)
    assert '<p id="x">42</p>' in in_sandbox(form, work, CHROMIUM.format("--no-sandbox"))


@pytest.mark.nightly
def test_chromium_renders_in_its_own_sandbox_when_the_toggle_allows_it(nesting, work):
    (work / "page.html").write_text(PAGE)
    assert '<p id="x">42</p>' in in_sandbox(nesting, work, CHROMIUM.format(""), "nested_sandbox")


@pytest.mark.nightly
def test_without_the_toggle_chromium_says_that_it_has_no_sandbox(form, work):
    (work / "page.html").write_text("<p>")
    assert "No usable sandbox" in in_sandbox(form, work, CHROMIUM.format("") + " || cat log")


def test_all_the_programs_are_here():
    """A missing one would not be a skip but a hole."""
    programs = ("bash", "git", "node", "g++", "gdb", "unshare", "ip", "psql")
    assert [name for name in programs if shutil.which(name) is None] == []
