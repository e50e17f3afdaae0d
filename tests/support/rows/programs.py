"""Rows J, L and N: which program it is, and how much of everything."""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

from talk import CURL_ONLY, ECHO, OTHER, PATIENCE_S, dial, ends, row, shown, talk


def curl(program, host=CURL_ONLY, *, argv=(), **environment):
    line = [program, *argv, "-sS", "--max-time", "8", "-o", "/dev/null", "-w", "%{http_code}"]
    done = subprocess.run(
        [*line, f"http://{host}/"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout or done.stderr


TALKING = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], 80), 8) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % sys.argv[1].encode())
        print(sock.recv(4096).split()[1].decode())
except OSError as error:
    print(error)
"""


def said(*line, **environment):
    done = subprocess.run(
        line, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    return (done.stdout or done.stderr).strip()


@row
def j1_scripts_of_an_interpreter():
    """A script is its interpreter: no more and no less than that, whatever it is called."""
    os.makedirs("scripts/bin", exist_ok=True)
    with open("scripts/bin/curl", "w") as file:
        file.write(f"#!/usr/bin/python3\n{TALKING}")
    os.chmod("scripts/bin/curl", 0o755)
    node = f"fetch('http://{CURL_ONLY}/').then((reply) => console.log(reply.status))"
    alias = f"alias.x=!python3 -c '{TALKING}' {CURL_ONLY}"
    return {
        "script": said("scripts/bin/curl", CURL_ONLY),
        "node -e": said("node", "-e", node),
        "git alias": said("git", "-c", alias, "x"),
        "by name": said("curl", CURL_ONLY, PATH=f"{os.getcwd()}/scripts/bin:/usr/bin"),
        "paired script": said("scripts/bin/curl", ECHO),
        "paired": curl("/usr/bin/curl"),
    }


LOADING = (
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "PYTHONPATH", "PYTHONSTARTUP",
    "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "BASH_ENV", "BUN_OPTIONS",
)  # fmt: skip


@row
def j2_variables_that_load_code():
    """Of the container's none arrives. The workload's own gain what the program may, not more."""
    library = "libdl.so.2"
    return {
        "arrived": [name for name in LOADING if name in os.environ],
        "paired variable": os.environ.get("LC_TIME"),
        "found": curl("/usr/bin/curl", OTHER, LD_PRELOAD=library),
        "paired": curl("/usr/bin/curl", LD_PRELOAD=library),
    }


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

    def ask(host):
        sock = socket.socket()
        sock.settimeout(PATIENCE_S)
        os.set_inheritable(sock.fileno(), True)
        silent = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        holder = subprocess.Popen(["/usr/bin/curl", "-s", url], close_fds=False)
        silent.accept()
        try:
            sock.connect((socket.gethostbyname(host), 80))
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return shown(sock.recv(4096)).partition("\r\n")[0]
        finally:
            holder.kill()
            holder.wait()

    return {"found": ask(CURL_ONLY), "paired": ask(ECHO)}


CAPTURE = 61001  # where egress takes what is redirected


def established():
    """(own port, peer's port) of every IPv4 connection of the namespace that is open both ways."""
    with open("/proc/net/tcp") as file:
        rows = [line.split()[1:4] for line in file][1:]
    return {
        tuple(int(end.rpartition(":")[2], 16) for end in ends)
        for *ends, state in rows
        if state == "01"
    }


def dial_from(port, host):
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    sock.connect((socket.gethostbyname(host), 80))
    return sock


VOUCHER_S = 3.0  # below what egress gives a refused client for its first word


def dial_with_a_voucher():
    """Whether the voucher stood where the client seemed to be, and what the client was told."""
    first = dial_from(0, ECHO)
    before = established()
    second = dial_from(first.getsockname()[1], CURL_ONLY)
    (given,) = {there for here, there in established() - before if here == CAPTURE}
    line = ["/usr/bin/curl", "-4sS", "--local-port", str(given), f"telnet://{CURL_ONLY}:80"]
    voucher = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + VOUCHER_S
        while (given, 80) not in established() and time.monotonic() < end:
            time.sleep(0.05)
        there = given != second.getsockname()[1] and (given, 80) in established()
        second.sendall(f"GET / HTTP/1.1\r\nHost: {CURL_ONLY}\r\n\r\n".encode())
        return there, shown(second.recv(4096)).partition("\r\n")[0]
    finally:
        voucher.kill()
        voucher.wait()


@row
def j6_an_allowed_program_at_the_port_that_tracking_gave():
    """Two connections from one port become one that the kernel renumbers; egress sees that number.

    An allowed program binds it before the first byte is said, and is at these ends when egress looks.
    The number is any free one of tracking's: some socket here may have it, and curl then cannot.
    """
    tries = []
    while len(tries) < 5 and not any(there for there, _ in tries):
        tries.append(dial_with_a_voucher())
    return {
        "renumbered": tries[-1][0],
        "found": " or ".join(sorted({found for _, found in tries})),
        "paired": curl("/usr/bin/curl"),
    }


@row
def j5_the_memory_of_an_allowed_program():
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    allowed = subprocess.Popen(["/usr/bin/curl", "-s", url])
    silent.accept()
    try:
        return {
            "found": ends(lambda: os.close(os.open(f"/proc/{allowed.pid}/mem", os.O_RDWR))),
            "paired": os.path.exists(f"/proc/{allowed.pid}/status"),
        }
    finally:
        allowed.kill()
        allowed.wait()


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
def j7_a_thread_that_waits_in_accept():
    """It has reserved a number that shows nothing, like any server; others go on connecting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        waiting = threading.Thread(target=server.accept)
        waiting.start()
        while os.stat("/proc/self/fd").st_size <= len(os.listdir("/proc/self/fd")) - 1:
            time.sleep(0.01)  # the listing's own descriptor is gone when the numbers are counted
        during = [curl("/usr/bin/curl"), curl("/usr/bin/curl", OTHER)]
        socket.create_connection(server.getsockname()).close()
        waiting.join()
    return {"during": during, "paired": curl("/usr/bin/curl")}


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
        slowest, since = 0.0, time.monotonic()
        while starting.poll() is None:
            began = time.monotonic()
            sock.sendall(b"x")
            sock.recv(1)
            slowest = max(slowest, time.monotonic() - began)
        seconds = time.monotonic() - since
    os.unlink("large")
    return {"slowest": slowest, "seconds": seconds}


@row
def who_am_i():
    with open("/proc/self/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    return {"uid": status["Uid"].split()[0], "caps": status["CapEff"], "bound": status["CapBnd"]}
