"""Our own processes under their own filters: the monitor still launches, egress still relays."""

import asyncio
import concurrent.futures
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest
from support.confined import become_workload, no_new_privs, ruleset, workplace
from support.forked import CLONE_NEWNET, in_child

from supervisor.egress import process
from supervisor.kernel import filters, namespaces, procfs, seccomp
from supervisor.kernel.filters import Toggles
from supervisor.kernel.mount import mount
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.startup.proof import network


def launched(command, confinement):
    """What a confined program prints."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    what = Launch(
        argv=("sh", "-c", command),
        environment={"PATH": "/usr/bin:/bin"},
        cwd="/",
        confinement=confinement,
        monitor=os.getpid(),
        stdio=(0, write_end, write_end),
    )
    pid = launch(what)
    os.close(write_end)
    with open(read_end) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    return text


def a_namespace():
    """A network namespace made by a child, as the fence's is."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(CLONE_NEWNET)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    descriptor = namespaces.open_namespace("net", pid)
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    return descriptor


@pytest.mark.parametrize("toggles", [Toggles(), Toggles(nested_sandbox=True, debugger=True)])
def test_under_its_filter_the_monitor_launches_into_everything(toggles):
    """Namespaces, ids, capabilities, Landlock, and the workload's filter on top of its own."""

    def monitor():
        network = a_namespace()
        rules = ruleset()
        no_new_privs()
        seccomp.install(filters.monitor(toggles))
        confinement = Confinement(
            uid=4242,
            gid=4343,
            groups=(4545,),
            drop_privileges=True,
            namespaces=((network, CLONE_NEWNET),),
            landlock=rules,
            seccomp=filters.workload(toggles),
        )
        text = launched("cat /proc/self/status /proc/self/net/dev; ls / 2>&1 || true", confinement)
        again = launched("unshare -U true 2>&1 || true", confinement)
        return text, again

    text, again = in_child(monitor)
    status = procfs.parse_status(text[: text.index("Inter-|")])
    assert (status.uids, status.groups, status.bounding) == ((4242,) * 4, (4545,), 0)
    assert "Seccomp_filters:\t2" in text
    assert "eth0" not in text
    assert "ls: cannot open directory '/': Permission denied" in text
    assert ("Operation not permitted" in again) is not toggles.nested_sandbox


def test_under_its_filter_the_monitor_arranges_mounts_and_is_refused_the_rest():
    def monitor():
        seccomp.install(filters.monitor(Toggles()))
        namespaces.unshare(0x20000)
        mount("none", "/mnt", "tmpfs")
        with pytest.raises(OSError, match="Operation not permitted"):
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).fileno() > 2

    assert in_child(monitor)


def test_under_its_filter_the_monitors_children_try_the_same_protocols_as_before():
    """The proof, made again in a running sandbox, must not mistake our filter for the kernel."""

    def sockets():
        found = []
        for _, kind, protocol, _ in network.PROTOCOLS:
            try:
                socket.socket(socket.AF_INET, kind, protocol).close()
            except OSError as error:
                found.append(error.errno)
            else:
                found.append(0)
        return found

    def monitor():
        before = sockets()
        no_new_privs()
        seccomp.install(filters.monitor(Toggles()))
        return before, sockets()

    before, after = in_child(monitor)
    assert before == after
    assert 0 in before


OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
    " -addext subjectAltName=DNS:localhost"
)


@pytest.fixture(scope="module")
def certificate():
    with workplace() as directory:
        both = directory / "both.pem"
        subprocess.run(
            [*OPENSSL.split(), "-keyout", directory / "key", "-out", directory / "certificate"],
            check=True,
            capture_output=True,
        )
        both.write_text((directory / "key").read_text() + (directory / "certificate").read_text())
        both.chmod(0o644)
        yield str(both)


async def echo(certificate):
    """A TLS server and client in one loop, and threads beside it: what egress does."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    client_side = ssl.create_default_context(cafile=certificate)

    async def answer(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        sock=await connected(port), ssl=client_side, server_hostname="localhost"
    )
    writer.write(b"through\n")
    line = await reader.readline()
    writer.close()
    digest = await asyncio.to_thread(digest_of, "/usr/bin/env")
    server.close()
    await server.wait_closed()
    return line, len(digest)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def connected(port):
    connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


def spliced():
    """A relay through a pipe in the kernel, and its descriptors as a message."""
    near, far = socket.socketpair()
    out, back = socket.socketpair()
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    far.sendall(b"tunnel")
    moved = os.splice(near.fileno(), write_end, 100)
    os.splice(read_end, out.fileno(), moved)
    relayed = back.recv(100)
    socket.send_fds(out, [b"fd"], [read_end])
    return relayed, len(socket.recv_fds(back, 10, 1)[1])


@pytest.mark.parametrize("program", [filters.egress, filters.access])
def test_under_its_filter_egress_speaks_tls_hashes_and_relays(certificate, program):
    def helper():
        no_new_privs()
        # Threads of a pool start late: they must come up under the filter, too.
        seccomp.install(program(), all_threads=True)
        line, digest = asyncio.run(echo(certificate))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert list(pool.map(abs, range(-4, 0))) == [4, 3, 2, 1]
        assert threading.active_count() == 1
        return line, digest, spliced()

    assert in_child(helper) == (b"through\n", 64, (b"tunnel", 1))


def test_once_confined_egress_has_no_file():
    def helper():
        become_workload()
        no_new_privs()
        descriptor = os.open("/etc/passwd", os.O_RDONLY)
        os.close(descriptor)
        process.confine(filters.egress())
        with pytest.raises(PermissionError):
            os.open("/etc/passwd", os.O_RDONLY)
        return True

    assert in_child(helper)


def test_under_its_filter_egress_starts_nothing():
    def helper():
        become_workload()
        seccomp.install(filters.egress())
        found = []
        for act in (
            os.fork,
            lambda: os.execv("/bin/true", ["true"]),
            lambda: os.kill(os.getppid(), 0),
            lambda: os.mkdir("/tmp/never"),
            lambda: os.unlink("/tmp/never"),
        ):
            with pytest.raises(PermissionError):
                act()
            found.append(True)
        return len(found)

    assert in_child(helper) == 5
