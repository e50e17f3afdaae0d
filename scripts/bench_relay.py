"""How fast and how lean egress is, beside a splice loop in C, squid and no proxy at all.

    sudo .venv/bin/python scripts/bench_relay.py [--json] [--peer mitmproxy] [bulk] [idle] [tunnel] [http]

Contenders are interleaved, one round each in turn, and medians are shown: on shared cores only
ratios within one run mean anything. CPU is the relaying processes' own, from schedstat. The
set-up and HTTP parts run the whole egress (policy, caller lookup by the monitor's search in a process
of its own, SSRF check, records), whose CPU counts together, between two network namespaces and in
a process namespace made for the bench; squid (from Debian) is skipped where it is not
installed, and says so. mitmproxy (from PyPI) is installed below .build when it is asked for. The
idle part holds its tunnels once through the relay alone and once through the whole egress.
"""

import json
import mmap
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ROUNDS = 5
BULK_MIB = 1024
SETUP_S = 2.0
IDLE_TUNNELS = 9_900  # server.MAX_CONNECTIONS is 10 000
MITMPROXY = "mitmproxy==11.0.2"


def compile_peer(directory):
    peer = Path(directory) / "peer"
    subprocess.run(["gcc", "-O2", "-o", peer, Path(__file__).with_suffix(".c")], check=True)
    return str(peer)


def cpu_of(pid):
    """Seconds on a core, all threads of one process; finer than the ticks of /proc/PID/stat."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def pss_of(pid):
    """Proportional memory in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port, host="127.0.0.1"):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {host}:{port}")


def relay_in_python(listen, destination):
    """The data plane alone: accept, dial, relay. Runs in a process of its own."""
    from supervisor.egress.poller import LEVEL_IN, Poller
    from supervisor.egress.relay import Relay

    poller = Poller()
    relay = Relay(poller)
    listener = socket.create_server(("127.0.0.1", listen), backlog=1024)

    def accept(_events):
        client, _ = listener.accept()
        upstream = socket.create_connection(("127.0.0.1", destination))
        for side in (client, upstream):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            side.setblocking(False)
        relay.start(client=client, upstream=upstream, ended=lambda *_: None)

    poller.add(listener.fileno(), accept, LEVEL_IN)
    while True:
        poller.turn(1.0)


class Processes:
    """Background processes that end with the bench. ``all`` tells them, and us, in each of them."""

    def __init__(self):
        self._pids = []
        self._shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("I")  # how many, and the pids

    def all(self):
        return frozenset(self._shared[1 : 1 + self._shared[0]]) | {1}

    def _add(self, pid):
        self._pids.append(pid)
        self._shared[len(self._pids)] = pid
        self._shared[0] = len(self._pids)

    def start(self, *command):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._add(process.pid)
        return process.pid

    def fork(self, function, *arguments):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                function(*arguments)
            finally:
                os._exit(1)
        self._add(pid)
        return pid

    def stop(self):
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)


def bulk(peer, processes):
    destination = free_port()
    processes.start(peer, "sink", "127.0.0.1", str(destination))
    wait_for(destination)
    ports = {"direct": (destination, None)}
    listen = free_port()
    ports["C splice"] = (listen, processes.start(peer, "relay", str(listen), str(destination)))
    wait_for(listen)
    listen = free_port()
    ports["egress relay"] = (listen, processes.fork(relay_in_python, listen, destination))
    wait_for(listen)
    found = {}
    for streams in (1, 32):
        figures = {name: [] for name in ports}
        for _ in range(ROUNDS):
            for name, (port, pid) in ports.items():
                before = cpu_of(pid) if pid else 0.0
                took = subprocess.run(
                    [peer, "source", str(port), str(BULK_MIB), str(streams)],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                used = (cpu_of(pid) if pid else 0.0) - before
                gib = BULK_MIB / 1024
                figures[name].append((gib / float(took.stdout), used / gib))
        say(f"bulk, {streams} stream(s), {BULK_MIB} MiB: GiB/s, CPU s/GiB (medians of {ROUNDS})")
        found[streams] = {}
        for name, rows in figures.items():
            rate, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
            found[streams][name] = {"gib_per_s": rate, "cpu_s_per_gib": cpu}
            say(f"  {name:14} {rate:6.2f}  {cpu:6.3f}")
    return found


def idle(peer, processes):
    destination, listen = free_port(), free_port()
    processes.start(peer, "echo", "127.0.0.1", str(destination))
    wait_for(destination)
    pid = processes.fork(relay_in_python, listen, destination)
    wait_for(listen)
    before = pss_of(pid)
    held = []
    for _ in range(IDLE_TUNNELS):
        sock = socket.create_connection(("127.0.0.1", listen))
        sock.sendall(b"ping")
        held.append(sock)
    for sock in held:
        sock.recv(4)
    grown = pss_of(pid) - before
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    for sock in held:
        sock.close()
    found = {
        "kib_each": grown / IDLE_TUNNELS,
        "descriptors_each": descriptors / IDLE_TUNNELS,
        "kib_without": before,
    }
    say(f"idle, {IDLE_TUNNELS} tunnels: {found['kib_each']:.2f} KiB each, "
        f"{found['descriptors_each']:.2f} descriptors each, {before} KiB without any")  # fmt: skip
    return found


def idle_whole(lab, target):
    """Memory and descriptors of egress for each tunnel that rests."""
    before = pss_of(lab.pid)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = [lab.connect(target)[0] for _ in range(IDLE_TUNNELS)]
        for sock in held:
            sock.sendall(b"ping")  # the gate opens with the first bytes
        for sock in held:
            assert sock.recv(4)
        os.write(write_end, b".")
        time.sleep(3600)
    assert os.read(read_end, 1)
    grown = pss_of(lab.pid) - before
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    say(f"idle, {IDLE_TUNNELS} tunnels, whole egress: {grown / IDLE_TUNNELS:.2f} KiB each")
    return {"kib_each": grown / IDLE_TUNNELS, "kib_without": before}


def whole(peer, processes, modes):
    """Tunnel set-up and HTTP through the whole egress, and through squid, in own namespaces."""
    from support.built_policies import endpoint, entry, policy
    from support.egress_lab import OUTSIDE, PROGRAM

    from policy.index import compile_policy

    places = endpoint(OUTSIDE, 7000), endpoint(OUTSIDE, 80)
    index = compile_policy(policy(entry("lab", *places, binaries=(PROGRAM, peer))))
    lab, pids = start_lab(index, processes)
    # Thousands of closed connections in TIME_WAIT make connect(2) itself cost milliseconds.
    forget = "echo 64 > /proc/sys/net/ipv4/tcp_max_tw_buckets"
    for run in (lambda job: job(), lab.outside.do):
        run(lambda: subprocess.run(["sh", "-c", forget], check=True))
    for port in (7000, 80):
        lab.outside.do(lambda port=port: processes.start(peer, "echo", OUTSIDE, str(port)))
        wait_for(port, OUTSIDE)
    contenders = {"egress": (lab.proxy_address[1], *pids)}
    found = {"egress_kib": pss_of(lab.pid)}
    say(f"egress: {found['egress_kib']} KiB proportional")
    with tempfile.TemporaryDirectory() as directory:
        squid = start_squid(directory, processes)
        if squid is not None:
            contenders["squid"] = squid
        for mode, target in (("tunnel", f"{OUTSIDE}:7000"), ("http", OUTSIDE)):
            if mode in modes:
                others = start_mitmproxy(mode, processes) if "mitmproxy" in sys.argv else {}
                found[mode] = compare(peer, mode, target, contenders | others)
        if "idle" in modes:
            found["idle_whole"] = idle_whole(lab, f"{OUTSIDE}:7000")
        return found


def install_mitmproxy():
    """Into an environment of its own; only asked for what is missing."""
    where = ROOT / ".build" / "mitmproxy"
    if not (where / "bin" / "mitmdump").exists():
        subprocess.run([sys.executable, "-m", "venv", where], check=True)
        subprocess.run([where / "bin" / "pip", "install", "-q", MITMPROXY], check=True)


def start_mitmproxy(mode, processes):
    """Tunnels are passed through unopened, as ours are."""
    port = free_port()
    command = [ROOT / ".build" / "mitmproxy" / "bin" / "mitmdump", "-q", "--listen-host"]
    command += ["127.0.0.1", "-p", str(port), "--set", "confdir=/tmp/bench-mitmproxy"]
    pid = processes.start(*command, *(["--ignore-hosts", ".*"] if mode == "tunnel" else []))
    wait_for(port)
    return {"mitmproxy": (port, pid)}


def start_squid(directory, processes):
    program = shutil.which("squid")
    if program is None:
        print("squid is not installed: not compared", file=sys.stderr)
        return None
    port = free_port()
    Path(directory).chmod(0o777)
    configuration = Path(directory) / "squid.conf"
    configuration.write_text(
        f"http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\n"
        f"cache_log /dev/null\ncache_store_log none\npid_filename {directory}/pid\n"
        "workers 1\nshutdown_lifetime 0 seconds\nvia on\nforwarded_for off\n"
    )
    processes.start(program, "-N", "-f", str(configuration))
    wait_for(port)
    pid = int((Path(directory) / "pid").read_text())
    return port, pid


def start_lab(index, processes):
    """Egress and the real search, and the pids of both."""
    from support.egress_lab import Lab
    from support.real_monitor import RealMonitor

    real = RealMonitor(processes.fork, processes.all)
    lab = Lab(index, apart=processes.fork, real=real)
    return lab, (lab.pid, real.pid)


def compare(peer, mode, target, contenders):
    found = {}
    for clients in (1, 32):
        figures = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, (port, *pids) in contenders.items():
                before = sum(map(cpu_of, pids))
                ran = subprocess.run(
                    [peer, mode, "127.0.0.1", str(port), target, str(clients), str(SETUP_S)],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                rate, p50, p99, errors = map(float, ran.stdout.split())
                used = (sum(map(cpu_of, pids)) - before) / max(rate * SETUP_S, 1) * 1e6
                figures[name].append((rate, p50, p99, used, errors))
        say(f"{mode}, {clients} client(s): per s, p50 µs, p99 µs, CPU µs each, errors")
        found[clients] = {}
        for name, rows in figures.items():
            columns = [statistics.median(column) for column in zip(*rows, strict=True)]
            named = zip(("per_s", "p50_us", "p99_us", "cpu_us", "errors"), columns, strict=True)
            found[clients][name] = dict(named)
            say(f"  {name:10}" + "".join(f"{value:10.0f}" for value in columns))
    return found


def say(text):
    """For people, who read along; a program waits for the whole."""
    if "--json" not in sys.argv:
        print(text, flush=True)


def main():
    if os.getpid() != 1:  # the search is to see what belongs to the bench, and nothing else
        again = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, *sys.argv]
        sys.exit(subprocess.run(again).returncode)
    modes = set(sys.argv[1:]) - {"--json", "--peer", "mitmproxy"}
    modes = modes or {"bulk", "idle", "tunnel", "http"}
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if "mitmproxy" in sys.argv:
        install_mitmproxy()
    found = {}
    processes = Processes()
    with tempfile.TemporaryDirectory() as directory:
        peer = compile_peer(directory)
        try:
            if "bulk" in modes:
                found["bulk"] = bulk(peer, processes)
            if "idle" in modes:
                found["idle"] = idle(peer, processes)
            if modes & {"idle", "tunnel", "http"}:
                unshare_net()
                found |= whole(peer, processes, modes)
        finally:
            processes.stop()
    if "--json" in sys.argv:
        print(json.dumps(found))


def unshare_net():
    from support.forked import CLONE_NEWNET

    from supervisor.kernel.libc import check, libc

    check(libc.unshare(CLONE_NEWNET), "unshare")


if __name__ == "__main__":
    main()
