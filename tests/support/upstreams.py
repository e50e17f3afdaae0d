"""Everything that a sandbox may want to reach, in network namespaces of the test's own.

An outside namespace holds the servers; each sandbox gets a namespace with one wire to it, which
podman is told to use (``--network ns:PATH``). There is no route to anywhere else.

    outside: bridge, 198.51.100.1        sandbox N: 198.51.100.(10+N), resolv.conf names .1
        53 DNS   80, 443 sites   5432 PostgreSQL   22 a server that speaks first   7 echo
        21 the control channel of FTP
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from supervisor.kernel.libc import check, libc
from support.certificates import write_certificates
from support.nameserver import NameServer, answering
from support.sites import ZONE, Handler, write_sites
from support.waiting import until

CLONE_NEWNET = 0x40000000
DEADLINE_S = 30.0
# Documentation addresses (RFC 5737, RFC 3849): dialled where a rule states the name exactly. The
# second one stands for a public address: it exists in these namespaces only.
SERVER, SERVER_V6, PUBLIC = "198.51.100.1", "2001:db8:51::1", "8.0.0.1"
METADATA = "169.254.169.254"
ETH_P_ALL = 3  # linux/if_ether.h
BANNER = b"SSH-2.0-standin\r\n"
NAMES = (
    *(
        f"{label}.{ZONE}"
        for label in ("pypi", "npm", "deb", "git", "echo", "held", "other", "db", "ssh")
    ),
    f"wide.public.{ZONE}",
)


class Namespace:
    """A network namespace that lives as long as its thread; what runs in ``do`` runs inside."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(
            1, initializer=lambda: check(libc.unshare(CLONE_NEWNET), "unshare")
        )
        self.task = self.do(threading.get_native_id)
        self.path = f"/proc/{os.getpid()}/task/{self.task}/ns/net"

    def do(self, function: Callable[[], object], deadline_s: float = DEADLINE_S):
        """Call ``function`` there and return what it returned."""
        return self._thread.submit(function).result(deadline_s)

    def ip(self, *words: str) -> None:
        """Run ip(8) there."""
        self.do(lambda: _run("ip", *words))

    def close(self) -> None:
        """End the thread; the kernel takes the namespace away with its last socket."""
        self._thread.shutdown()


class WebServer(socketserver.ThreadingTCPServer):
    """Serves support.sites; http.server's own asks a resolver for the machine's name first."""

    daemon_threads = allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, root: Path, seen: list) -> None:
        self.root, self.seen = root, seen
        super().__init__(("", port), Handler)

    def handle_error(self, request, client_address) -> None:
        """Nothing: clients that vanish are what is tested."""


class Upstreams:
    """See the module's text. ``requests`` and ``nameserver.asked`` record what arrived."""

    def __init__(self, directory: Path) -> None:
        self.ca, self._server_pem = write_certificates(directory, NAMES, (SERVER, PUBLIC))
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {SERVER}\noptions timeout:5 attempts:1\n")
        self._root = directory / "sites"
        self._root.mkdir()
        write_sites(self._root)
        self.outside = Namespace()
        self.requests: list = []
        self.greeted: list = []
        self.table = {(name, "A"): [SERVER] for name in NAMES}
        self.table[f"wide.public.{ZONE}", "A"] = [PUBLIC]
        self._numbers = itertools.count(10)
        self._wire()
        self.nameserver = self.outside.do(
            lambda: NameServer(answering(self.table), address=SERVER, port=53)
        )
        self.serve_http(80)
        self.serve_http(443, tls=True)
        self.listen(22, self._greet)
        self.listen(7, echo)
        self.listen(21, self._transfer)
        self._database: subprocess.Popen | None = None

    def _wire(self) -> None:
        ip = self.outside.ip
        ip("link", "set", "lo", "up")
        ip("link", "add", "bridge", "type", "bridge")
        for address in (f"{SERVER}/24", f"{PUBLIC}/32", f"{METADATA}/32"):
            ip("addr", "add", address, "dev", "bridge")
        ip("addr", "add", f"{SERVER_V6}/64", "dev", "bridge", "nodad")
        ip("link", "set", "bridge", "up")

    @contextlib.contextmanager
    def attached(self) -> Iterator[str]:
        """A namespace for one container, wired to the outside: podman's name for it."""
        number = next(self._numbers)
        inside = Namespace()
        port = f"port{number}"
        try:
            inside.ip("link", "set", "lo", "up")
            self.outside.ip("link", "add", port, "type", "veth", "peer", "name", "eth0",
                            "netns", str(inside.task))  # fmt: skip
            self.outside.ip("link", "set", port, "master", "bridge", "up")
            for words in (
                ("addr", "add", f"198.51.100.{number}/24", "dev", "eth0"),
                ("addr", "add", f"2001:db8:51::{number}/64", "dev", "eth0", "nodad"),
                ("link", "set", "eth0", "up"),
                ("route", "add", "default", "via", SERVER),
                ("-6", "route", "add", "default", "via", SERVER_V6),
            ):
                inside.ip(*words)
            yield f"ns:{inside.path}"
        finally:
            self.outside.ip("link", "delete", port)
            inside.close()

    def options(self, network: str) -> tuple[str, ...]:
        """podman's options for a container in that namespace; it trusts the test's authority."""
        return (
            f"--network={network}",
            f"--volume={self.resolv_conf}:/etc/resolv.conf:ro",
            f"--volume={self.ca}:/etc/ssl/certs/ca-certificates.crt:ro",
        )

    def serve_http(self, port: int, *, tls: bool = False) -> None:
        """Serve the sites on every address of the outside."""
        server = self.outside.do(lambda: WebServer(port, self._root, self.requests))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._server_pem)
            # The handshake belongs into the connection's thread: a client that never says hello
            # must not keep the others out.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def listen(self, port: int, handler: Callable[[socket.socket], None]) -> None:
        """Serve ``handler(connection)`` on every address, one thread for each connection."""
        listener = self.outside.do(lambda: socket.create_server(("", port), backlog=512))

        def accept() -> None:
            while True:
                near, _ = listener.accept()
                near.settimeout(DEADLINE_S)
                threading.Thread(target=handler, args=(near,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _greet(self, near: socket.socket) -> None:
        """Speak first, as SSH does, and wait for the client to go."""
        self.greeted.append(time.monotonic())
        with near, contextlib.suppress(OSError):
            near.sendall(BANNER)
            near.recv(1024)

    def _transfer(self, near: socket.socket) -> None:
        """FTP's control channel (RFC 959): announces a passive port, dials an active one."""
        with near, contextlib.suppress(OSError):
            near.sendall(b"220 standin\r\n")
            while line := near.recv(1024):
                if line.startswith(b"PASV"):
                    near.sendall(b"227 Entering Passive Mode (198,51,100,1,0,7)\r\n")
                    continue
                high, low = line.strip().split(b",")[-2:]
                is_open = self._connects((near.getpeername()[0], int(high) * 256 + int(low)))
                near.sendall(
                    b"225 data connection\r\n" if is_open else b"425 no data connection\r\n"
                )

    def _connects(self, target: tuple[str, int]) -> bool:
        try:
            self.outside.do(lambda: socket.create_connection(target, 2).close())
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def listening_for(self, *words: bytes) -> Iterator[set[bytes]]:
        """Every packet that arrives outside is searched for the words; those that were found."""
        found: set[bytes] = set()
        wire = self.outside.do(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        )
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 25)
        wire.settimeout(0.2)
        stopped = threading.Event()

        def listen() -> None:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    packet = wire.recv(1 << 16)
                    found.update(word for word in words if word in packet)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield found
        finally:
            stopped.set()
            thread.join()
            wire.close()

    def start_database(self) -> None:
        """A PostgreSQL that trusts everybody who reaches it. It does not run as root."""
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert programs, "postgresql is not installed: run scripts/setup"
        data = self._database_files = Path(tempfile.mkdtemp(prefix="sandbox-test-database-"))
        shutil.chown(data, "postgres")
        initdb, postgres = programs[-1] / "initdb", programs[-1] / "postgres"
        _run(str(initdb), "-D", str(data), "-A", "trust", "-U", "agent", user="postgres")
        (data / "pg_hba.conf").write_text("host all all all trust\nlocal all all trust\n")
        line = [str(postgres), "-D", str(data), "-k", "", "-h", SERVER, "-c", "fsync=off"]
        self._database = self.outside.do(
            lambda: subprocess.Popen(
                line, user="postgres", cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        until(lambda: self._connects((SERVER, 5432)), lambda: "PostgreSQL did not start")

    def close(self) -> None:
        """End what is not a thread."""
        if self._database is not None:
            self._database.send_signal(signal.SIGQUIT)
            self._database.wait(DEADLINE_S)
            shutil.rmtree(self._database_files)
        self.outside.close()


@contextlib.contextmanager
def open_upstreams() -> Iterator[Upstreams]:
    """An outside for as long as the block lasts."""
    # Not below pytest's own directory, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="sandbox-test-upstreams-") as directory:
        Path(directory).chmod(0o755)
        made = Upstreams(Path(directory))
        try:
            yield made
        finally:
            made.close()


def echo(near: socket.socket) -> None:
    """Send back what comes, until the end."""
    with near, contextlib.suppress(OSError):
        while data := near.recv(65536):
            near.sendall(data)


def _run(*command: str, user: str | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, user=user, cwd="/"
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
