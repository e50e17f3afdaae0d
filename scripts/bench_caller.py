"""What it takes to find the programs behind a connection, as egress and the monitor do it together.

    sudo .venv/bin/python scripts/bench_caller.py [--json]

Egress' finder and the monitor's search run in a process each, in a process namespace made for the
bench. ``processes`` are those of a sandbox, with 8 descriptors each; one of them holds the
connection, and every one is looked at for every answer. Microseconds from the question to the
answer; a search that 16 connections share is divided by them, and where it is long, half of it is
the rest between two such searches, because each follows at once upon another. The kernel's part
(sock_diag) is shown by itself, with few and with many sockets in the network namespace.
"""

import asyncio
import json
import os
import socket
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ROUNDS = 100
TOGETHER = 16
DESCRIPTORS = 8
MANY_SOCKETS = 4000


def own_processes(job):
    """Run ``job`` in process, mount and network namespaces of its own and return what it returns."""
    from support.forked import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID

    from supervisor.kernel.libc import check, libc

    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        check(libc.unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET), "unshare")
        inner = os.fork()
        if inner:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        for line in (
            "mount --make-rprivate /",
            "mount -t proc proc /proc",
            "ip link set lo up",
        ):
            assert os.system(line) == 0
        os.write(write_end, json.dumps(job()).encode())
        os._exit(0)
    os.close(write_end)
    text = b"".join(iter(lambda: os.read(read_end, 65536), b""))
    os.waitpid(pid, 0)
    return json.loads(text)


def populate(count, connection):
    """``count`` processes; the one in the middle keeps ``connection``."""
    for number in range(count):
        if os.fork() == 0:
            if number != count // 2:
                connection.close()
            for _ in range(DESCRIPTORS - 4):
                os.open("/dev/null", os.O_RDONLY)
            while True:
                time.sleep(3600)  # until the namespace ends


def monitor(channel):
    """Be the monitor: take questions, search, answer."""
    from supervisor.egress.owner_messages import QUESTIONS_SIZE, decode_questions, encode_answer
    from supervisor.monitor.owners import Owners

    owners = Owners(ours=lambda: frozenset({os.getppid()}))
    while packet := channel.recv(QUESTIONS_SIZE):
        for question in decode_questions(packet):
            owners.ask(question)
        while (due := owners.deadline()) is not None:
            if due > time.monotonic():
                time.sleep(due - time.monotonic())
            for found in owners.work():
                socket.send_fds(channel, [encode_answer(found.answer)], found.descriptors)
    os._exit(0)


async def look_up(ends, accepted, channel):
    """(first, one at a time, TOGETHER at a time) in µs."""
    from supervisor.egress.caller import CallerFinder
    from supervisor.egress.poller import Poller
    from supervisor.kernel.sock_diag import open_sock_diag

    poller, loop = Poller(), asyncio.get_running_loop()
    diag = open_sock_diag()
    finder = CallerFinder(
        poller=poller, channel=channel, diag=diag, loop=loop, hashers=ThreadPoolExecutor(1)
    )
    ends = [(ip_address(host), port) for host, port in ends]

    async def some(count):
        answers = []
        started = time.perf_counter()
        for _ in range(count):
            finder.find(*ends, accepted, answers.append)
        while len(answers) < count:
            if not poller.turn(0.001):
                await asyncio.sleep(0)
        took = (time.perf_counter() - started) / count * 1e6
        assert all(one.callers[0].problem is None for one in answers), answers
        return took

    first = await some(1)
    alone = [await some(1) for _ in range(ROUNDS)]
    together = [await some(TOGETHER) for _ in range(ROUNDS // 4)]
    return first, statistics.median(alone), statistics.median(together)


def lookups(processes):
    listener = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(listener.getsockname())
    ends = connection.getsockname(), connection.getpeername()
    populate(processes, connection)
    accepted, _ = listener.accept()
    connection.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        monitor(theirs)
    theirs.close()
    time.sleep(0.2)  # until the children have opened theirs
    first, alone, together = asyncio.run(look_up(ends, accepted, ours))
    return {"first, executable hashed": first, "alone": alone, "of 16 together": together}


def kernel_part(sockets):
    from supervisor.kernel.sock_diag import find_tcp, open_sock_diag

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    kept = []
    for _ in range(sockets):
        kept += [socket.create_connection(listener.getsockname()), listener.accept()[0]]
    ends = [(ip_address(h), p) for h, p in (kept[0].getsockname(), kept[0].getpeername())]
    diag = open_sock_diag()
    rounds = []
    for _ in range(7):
        started = time.process_time()
        for _ in range(500):
            assert find_tcp(diag, *ends).inode
        rounds.append((time.process_time() - started) / 500 * 1e6)
    return min(rounds)


def main():
    found = {str(count): own_processes(lambda c=count: lookups(c)) for count in (1, 3, 100)}
    found["kernel"] = {
        str(count): own_processes(lambda c=count: kernel_part(c)) for count in (10, MANY_SOCKETS)
    }
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for count, figures in found.items():
        for what, value in figures.items():
            print(f"{count:>8} {what:28} {value:10.0f} µs")


if __name__ == "__main__":
    main()
