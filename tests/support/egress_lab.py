"""A whole egress with a workload's side and an outside, in two namespaces made for the test.

To be used inside ``in_child(..., unshare=CLONE_NEWNET)``. The caller's namespace holds egress and
the workload; what it dials in the synthetic pools is redirected, as the fence does. The outside is
another namespace, behind a veth pair, with one server address.
"""

import asyncio
import os
import socket
import subprocess
import threading
from ipaddress import ip_address

from policy.index import compile_policy
from supervisor.egress.event_records import event_of
from supervisor.egress.hosts import Hosts
from supervisor.egress.resolv_conf import ResolvConf
from supervisor.egress.server import Descriptors, Egress, Setup, preload
from supervisor.egress.synthetic import TABLE_SIZE
from supervisor.events.event_metrics import EgressMetrics
from supervisor.events.sinks import SocketSink
from supervisor.events.stream import EventStream
from supervisor.fence.request import Served
from supervisor.fence.rules import FILTER_PRIORITY, source_ports
from supervisor.kernel import nftables
from supervisor.kernel.libc import check, libc
from supervisor.kernel.ruleset import Chain, Hook, Table, Verdict
from supervisor.kernel.sock_diag import open_sock_diag
from support.built_policies import entry, policy
from support.forked import CLONE_NEWNET
from support.monitor import PlayedMonitor, found
from support.nameserver import NameServer, answering

INSIDE, OUTSIDE = "192.0.2.1", "192.0.2.2"
# What is dialled from here is captured wherever it goes; egress itself dials from INSIDE.
CAPTURED = "192.0.2.3"
NAME, OTHER = "api.example.com", "other.example.com"
PROGRAM = os.readlink("/proc/self/exe")
DEADLINE_S = 20.0

_RULES = """
table inet lab {
  chain nat { type nat hook output priority -110; policy accept;
    ip daddr 198.18.0.0/15 meta l4proto tcp redirect to :CAPTURE
    ip6 daddr fdc6:5e1f:9d07::/64 meta l4proto tcp redirect to :CAPTURE
    ip saddr 192.0.2.3 meta l4proto tcp redirect to :CAPTURE
  }
}
"""


def run(*command, text=None):
    subprocess.run(command, check=True, input=text, text=True, capture_output=True)


def tell_source_ports(served):
    """What the fence does for that (nft(8) has no words for it)."""
    chain = Chain(
        name="ports",
        kind="filter",
        hook=Hook.INPUT,
        priority=FILTER_PRIORITY,
        default=Verdict.ACCEPT,
        rules=source_ports(served),
    )
    with nftables.open_socket() as channel:
        nftables.install(channel, Table(name="lab_ports", chains=(chain,)))


def rules(*endpoints, program=PROGRAM, accept=()):
    return compile_policy(policy(entry("lab", *endpoints, binaries=(program,)), accept=accept))


class Outside(threading.Thread):
    """A thread in a network namespace of its own that opens listeners there."""

    def __init__(self):
        super().__init__(daemon=True)
        self._jobs = []
        self._wake = threading.Semaphore(0)
        self._made = threading.Event()
        self.start()
        assert self._made.wait(DEADLINE_S)

    def run(self):
        check(libc.unshare(CLONE_NEWNET), "unshare")
        self.tid = threading.get_native_id()
        self._made.set()
        while self._wake.acquire():
            job = self._jobs.pop(0)
            if job is None:
                return
            job()

    def do(self, function):
        """Run ``function`` in the namespace and return what it returned."""
        box, done = [], threading.Event()

        def job():
            try:
                box.append(function())
            finally:
                done.set()

        self._jobs.append(job)
        self._wake.release()
        assert done.wait(DEADLINE_S)
        return box[0]

    def stop(self):
        self._jobs.append(None)
        self._wake.release()
        self.join(DEADLINE_S)


class Lab:
    """Namespaces, name server, played monitor and a running egress with one policy.

    ``apart`` (a function that forks) runs egress in a process of its own, for measuring; events
    and ``do`` are out of reach then. ``real`` is a RealMonitor instead of a played one; with it,
    reports become records as in the product.
    """

    def __init__(
        self,
        index,
        *,
        hosts=None,
        table=None,
        monitor=None,
        apart=None,
        proxy=None,
        real=None,
    ):
        self.outside = Outside()
        self._wire()
        names = {(NAME, "A"): [OUTSIDE], (OTHER, "A"): [OUTSIDE]} if table is None else table
        self.nameserver = NameServer(answering(names))
        self.monitor = real or PlayedMonitor(
            monitor or (lambda q: found(q, os.getpid(), paths=[PROGRAM]))
        )
        self.events = []
        self.capture = socket.create_server(("0.0.0.0", 0))
        self.capture6 = socket.create_server(
            ("::1", self.capture.getsockname()[1]), family=socket.AF_INET6
        )
        self.proxy = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.dns_tcp = socket.create_server(("127.0.0.1", 0))
        self.dns_ports = self.udp.getsockname()[1], self.dns_tcp.getsockname()[1]
        port = self.capture.getsockname()[1]
        run("nft", "-f", "-", text=_RULES.replace("CAPTURE", str(port)))
        self.proxy_address = self.proxy.getsockname()
        tell_source_ports(Served(capture=port, proxy=self.proxy_address[1]))
        memory = os.memfd_create("names")
        os.ftruncate(memory, TABLE_SIZE)
        self.setup = Setup(
            index=index,
            hosts=hosts or Hosts(),
            resolv_conf=ResolvConf(servers=(ip_address("127.0.0.1"),), timeout_s=2, attempts=1),
            has_ipv6=True,
            resolver_port=self.nameserver.port,
            proxy=proxy,
        )
        self.descriptors = Descriptors(
            capture=(os.dup(self.capture.fileno()), os.dup(self.capture6.fileno())),
            proxy=(os.dup(self.proxy.fileno()),),
            dns_udp=(os.dup(self.udp.fileno()),),
            dns_tcp=(os.dup(self.dns_tcp.fileno()),),
            diag=open_sock_diag().socket.detach(),
            names=memory,
            monitor=os.dup(self.monitor.theirs.fileno()),
        )
        preload()
        self.error = None
        if apart is not None:
            self.pid = apart(lambda: asyncio.run(self._alone()))
            return
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._started.wait(DEADLINE_S)

    def _wire(self):
        run("ip", "link", "set", "lo", "up")
        for pool in ("198.18.0.0/15", "fdc6:5e1f:9d07::/64"):
            run("ip", "route", "add", "local", pool, "dev", "lo")
        run("ip", "link", "add", "in0", "type", "veth", "peer", "name", "out0")
        run("ip", "link", "set", "out0", "netns", str(self.outside.tid))
        for address in (INSIDE, CAPTURED):
            run("ip", "addr", "add", f"{address}/24", "dev", "in0")
        run("ip", "link", "set", "in0", "up")
        self.outside.do(lambda: run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "out0"))
        self.outside.do(lambda: run("ip", "link", "set", "out0", "up"))

    async def _alone(self):
        report = _recording(self.monitor.records) if hasattr(self.monitor, "records") else _nothing
        await Egress(self.descriptors, self.setup, report).run()

    def _serve(self):
        async def main():
            self.loop = asyncio.get_running_loop()
            self.egress = Egress(self.descriptors, self.setup, self.events.append)
            self.loop.call_later(0.05, self._started.set)
            await self.egress.run()

        try:
            asyncio.run(main())
        except BaseException as error:
            self.error = error
            self._started.set()
            raise

    def do(self, function):
        """Run ``function`` on egress' loop."""
        done, box = threading.Event(), []

        def call():
            box.append(function())
            done.set()

        self.loop.call_soon_threadsafe(call)
        assert done.wait(DEADLINE_S)
        return box[0]

    def listen(self, port, handler):
        """Serve ``handler(connection)`` outside, one thread for each connection."""
        listener = self.outside.do(lambda: socket.create_server((OUTSIDE, port), backlog=512))

        def accept():
            while True:
                near, _ = listener.accept()
                near.settimeout(DEADLINE_S)
                threading.Thread(target=handler, args=(near,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def dial(self, address, port, source=None):
        where = None if source is None else (source, 0)
        sock = socket.create_connection((str(address), port), DEADLINE_S, where)
        sock.settimeout(DEADLINE_S)
        return sock

    def connect(self, target, early=b""):
        """CONNECT through the proxy; returns the socket and the reply's head."""
        sock = self.dial(*self.proxy_address)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + early)
        return sock, read_head(sock)

    def wait_for(self, kind):
        """The first event of ``kind``."""
        deadline = threading.Event()
        for _ in range(2000):
            for event in list(self.events):
                if isinstance(event, kind):
                    return event
            deadline.wait(0.01)
        raise AssertionError(f"no {kind.__name__} among {self.events}")

    def close(self):
        self.loop.call_soon_threadsafe(self.egress.stop)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self.outside.stop()


def _nothing(_report):
    pass


def _recording(channel):
    """What egress' process does with its reports."""
    stream = EventStream(
        source="egress",
        hostname="lab",
        sinks=(SocketSink(channel),),
        observe=EgressMetrics().observe,
    )
    return lambda report: stream.emit(event_of(report))


def read_head(sock):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, head
        head += piece
    return head


def echo(near):
    """Send back what comes, until the end."""
    with near:
        while data := near.recv(65536):
            near.sendall(data)


def http_ok(near):
    """Answer every request with its own head as body."""
    with near:
        buffer = b""
        while data := near.recv(65536):
            buffer += data
            while b"\r\n\r\n" in buffer:
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
