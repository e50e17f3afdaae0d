"""Processes that hold a socket, for who looks for them."""

import os
import socket
import threading
import time

from supervisor.egress.owner_messages import Question
from supervisor.kernel.libc import check, libc

# Not 4242, under which other tests' sandboxes may run on this machine: the search looks at every
# process of the uid, and one that it may not read makes the answer "unreadable".
WORKLOAD = 42042


def prctl_set_dumpable(value: int) -> None:
    """PR_SET_DUMPABLE, which a change of ids turns off and exec(2) on again."""
    check(libc.prctl(4, value, 0, 0, 0), "prctl")


def become_workload() -> None:
    os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
    prctl_set_dumpable(1)


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def question(sock: socket.socket, number: int = 1) -> Question:
    return Question(question_id=number, inode=inode_of(sock), uid=WORKLOAD)


def holder(sock: socket.socket, *, uid: int = WORKLOAD, ready: int) -> int:
    """A forked process that keeps ``sock`` open until it is killed; says on ``ready`` that it does."""
    pid = os.fork()
    if pid == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl_set_dumpable(1)
        os.write(ready, b".")
        os.read(os.pipe()[0], 1)
        os._exit(0)
    return pid


def held_by(count: int):
    """(socket, pids): a socket that ``count`` children hold and we do not."""
    read_end, write_end = os.pipe()
    sock = socket.socket()
    pids = [holder(sock, ready=write_end) for _ in range(count)]
    for _ in pids:
        os.read(read_end, 1)
    return sock, pids


def start_waiting_server() -> bool:
    """Fork a process with a thread in accept(2); whether a number of it is in use and not shown."""
    server = os.fork()
    if server == 0:
        become_workload()
        threading.Thread(target=socket.create_server(("127.0.0.1", 0)).accept).start()
        time.sleep(60)
    table = os.open(f"/proc/{server}/fd", os.O_RDONLY)
    end = time.monotonic() + 10.0
    while os.fstat(table).st_size <= len(os.listdir(table)) and time.monotonic() < end:
        time.sleep(0.01)
    return os.fstat(table).st_size > len(os.listdir(table))
