"""Attacks on the filter, and beside each what must go on working. Rows C1–C18, B10 of attacks."""

import ctypes
import errno
import mmap
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.confined import become_workload, workplace
from support.forked import in_child

from supervisor.errors import Refusal
from supervisor.kernel import filters, seccomp
from supervisor.kernel.filters import Toggles
from supervisor.kernel.libc import libc
from supervisor.kernel.seccomp_table.machines import this_machine
from supervisor.kernel.seccomp_table.numbers import NUMBERS

DIRTY = 1 << 32
TIOCSTI = 0x5412
TIOCGWINSZ = 0x5413
PR_SET_DUMPABLE = 4
CLONE_NEWUSER = 0x10000000
RAW_CALLS = ("io_uring_setup", "bpf", "keyctl", "add_key", "request_key", "open_by_handle_at")
NEW_MOUNT_API = ("mount_setattr", "fsopen", "open_tree", "move_mount", "fspick", "open_tree_attr")


def filtered(function, toggles=None, guarded=()):
    """Run ``function`` as the workload, under its filter only."""

    def child():
        become_workload()
        seccomp.install(filters.workload(toggles or Toggles(), guarded=guarded))
        return function()

    return in_child(child)


def unfiltered(function):
    def child():
        become_workload()
        return function()

    return in_child(child)


def syscall(name, *arguments):
    """Make a raw call with 64-bit arguments; return its errno, 0 where it worked."""
    number = ctypes.c_long(NUMBERS[name][this_machine().column])
    registers = [ctypes.c_ulong(value) for value in (*arguments, *(0,) * (6 - len(arguments)))]
    return ctypes.get_errno() if libc.syscall(number, *registers) < 0 else 0


def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("name", [*RAW_CALLS, *NEW_MOUNT_API, "setns", "pivot_root", "kcmp"])
def test_kernel_surface_is_refused_and_questions_are_answered(name):
    assert filtered(lambda: (syscall(name), os.getppid() > 0)) == (errno.EPERM, True)


@pytest.mark.parametrize("dirty", [0, DIRTY, 0xFFFFFFFF << 32], ids=["clean", "bit 32", "all"])
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (socket.AF_ALG, socket.SOCK_SEQPACKET, 0, errno.EPERM),
        (socket.AF_VSOCK, socket.SOCK_STREAM, 0, errno.EPERM),
        (socket.AF_PACKET, socket.SOCK_RAW, 0x0300, errno.EPERM),
        (44, socket.SOCK_RAW, 0, errno.EPERM),  # AF_XDP
        (socket.AF_TIPC, socket.SOCK_STREAM, 0, errno.EPERM),
        (21, socket.SOCK_SEQPACKET, 0, errno.EPERM),  # AF_RDS
        (socket.AF_INET, socket.SOCK_RAW, 1, errno.EPERM),
        (socket.AF_INET, 10, 0x0300, errno.EPERM),  # SOCK_PACKET
        (socket.AF_INET, socket.SOCK_STREAM, 262, errno.EPROTONOSUPPORT),  # MPTCP
        (socket.AF_INET, socket.SOCK_DGRAM, 136, errno.EPROTONOSUPPORT),  # UDP-Lite
        (socket.AF_INET6, socket.SOCK_STREAM, 132, errno.EPROTONOSUPPORT),  # SCTP
        (socket.AF_NETLINK, socket.SOCK_RAW, 12, errno.EPROTONOSUPPORT),  # nf_tables
        (socket.AF_NETLINK, socket.SOCK_RAW, 4, errno.EPROTONOSUPPORT),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0, 0),
        (socket.AF_INET, socket.SOCK_STREAM, 0, 0),
        (socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 17, 0),
        (socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 0, 0),
    ],
)
def test_sockets_are_what_the_list_says_whatever_the_upper_halves_hold(
    dirty, family, kind, protocol, expected
):
    call = (family | dirty, kind | dirty, protocol | dirty)
    assert filtered(lambda: syscall("socket", *call)) == expected


def test_dirty_upper_halves_are_what_the_kernel_ignores():
    """The pair of the test above: without a filter such a call makes the socket."""
    assert unfiltered(lambda: syscall("socket", 16 | DIRTY, 3 | DIRTY, 4 | DIRTY)) == 0


def test_typing_into_the_terminal_is_refused_and_its_size_is_not():
    def steal():
        _, terminal = pty.openpty()
        space = ctypes.create_string_buffer(8)
        where = ctypes.addressof(space)
        return [
            syscall("ioctl", terminal, request, where)
            for request in (TIOCSTI, TIOCSTI | DIRTY, 0x541C, 0x5423, TIOCGWINSZ)
        ]

    assert filtered(steal) == [errno.EPERM] * 4 + [0]


NAMESPACE_BITS = [0x20000, 0x02000000, 0x04000000, 0x08000000, CLONE_NEWUSER, 0x20000000, 1 << 30]


@pytest.mark.parametrize("bit", NAMESPACE_BITS, ids=hex)
def test_no_namespace_is_made_by_any_call(bit):
    def escape():
        return (
            syscall("unshare", bit),
            syscall("unshare", bit | CLONE_NEWUSER | DIRTY),
            syscall("clone", bit | signal.SIGCHLD),
            syscall("clone", CLONE_NEWUSER | bit | signal.SIGCHLD | DIRTY),
            syscall("clone3", 0, 0),
            syscall("unshare", 0x200),  # CLONE_FS
        )

    assert filtered(escape) == (*[errno.EPERM] * 4, errno.ENOSYS, 0)


def test_a_time_namespace_is_no_exception():
    assert filtered(lambda: syscall("unshare", 0x80)) == errno.EPERM


def test_the_toggle_lets_browsers_into_their_namespaces():
    def sandbox():
        mine = syscall("unshare", CLONE_NEWUSER | 0x20000000 | (1 << 30))
        return mine, attempt(os.chroot, "/proc/self/fdinfo"), syscall("unshare", 0x20000)

    assert filtered(sandbox, Toggles(nested_sandbox=True)) == (0, 0, errno.EPERM)


def test_in_a_nested_network_namespace_nf_tables_stay_out_of_reach():
    def exploit():
        mine = syscall("unshare", CLONE_NEWUSER | (1 << 30))
        return mine, syscall("socket", 16, 3, 12)

    found = filtered(exploit, Toggles(nested_sandbox=True))
    assert found == (0, errno.EPROTONOSUPPORT)


def test_an_anonymous_file_is_never_executable():
    def run_from_memory():
        sealed = os.memfd_create("x", 0x8)  # MFD_NOEXEC_SEAL
        os.write(sealed, Path("/bin/true").read_bytes())
        return (
            attempt(os.memfd_create, "x", 0),
            attempt(os.memfd_create, "x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING),
            attempt(os.memfd_create, "x", 0x10),  # MFD_EXEC
            attempt(os.memfd_create, "x", 0x18),
            attempt(os.fchmod, sealed, 0o755),
            attempt(os.execv, f"/proc/self/fd/{sealed}", ["x"]),
            attempt(os.execv, "/nonexistent", ["x"]),
        )

    nosys = errno.ENOSYS
    expected = (nosys, nosys, nosys, nosys, errno.EPERM, errno.EACCES, errno.ENOENT)
    assert filtered(run_from_memory) == expected


def test_without_the_filter_an_anonymous_file_runs():
    def run_from_memory():
        file = os.memfd_create("x", 0)
        os.write(file, Path("/bin/true").read_bytes())
        pid = os.fork()
        if pid == 0:
            os.execv(f"/proc/self/fd/{file}", ["x"])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert unfiltered(run_from_memory) == 0


def test_a_further_filter_cannot_give_anything_back():
    """A program may filter itself (browsers do); even "allow everything" allows nothing more."""

    def nest():
        allow_everything = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
        seccomp.install(allow_everything)
        return syscall("keyctl"), syscall("unshare", CLONE_NEWUSER), os.getppid() > 0

    assert filtered(nest) == (errno.EPERM, errno.EPERM, True)


def test_a_listener_never_sees_what_is_refused():
    """USER_NOTIF from inside: the listener could answer for the kernel, but it is not asked."""

    def listen():
        notify = struct.pack("=HBBI", 0x20, 0, 0, 0)
        notify += struct.pack("=HBBI", 0x15, 0, 1, NUMBERS["keyctl"][0])
        notify += struct.pack("=HBBI", 0x06, 0, 0, 0x7FC00000)
        notify += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
        listener = seccomp.seccomp(1, 8, notify)  # SECCOMP_FILTER_FLAG_NEW_LISTENER
        signal.alarm(10)  # an answer that never comes would hang
        return listener > 2, syscall("keyctl")

    assert filtered(listen) == (True, errno.EPERM)


def peek_at_child():
    """Try every way into the memory of a child of ours; return the errno of each."""
    secret = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(secret))
    # As after exec: a process that only changed its uid is not dumpable, and the kernel refuses.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    local = ctypes.create_string_buffer(8)
    vector = struct.pack("=QQ", ctypes.addressof(local), 8)
    remote = struct.pack("=QQ", address, 8)
    buffers = [ctypes.create_string_buffer(raw, 16) for raw in (vector, remote)]
    here, there = map(ctypes.addressof, buffers)
    found = (
        syscall("ptrace", 0x4206, pid, 0, 0),  # PTRACE_SEIZE
        syscall("process_vm_readv", pid, here, 1, there, 1),
        syscall("process_vm_writev", pid, here, 1, there, 1),
        syscall("kcmp", os.getpid(), pid, 0),
        syscall("pidfd_getfd", os.pidfd_open(pid), 0),
    )
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return found


def test_other_processes_are_out_of_reach():
    assert filtered(peek_at_child) == (errno.EPERM,) * 5


def test_the_debugger_toggle_opens_other_processes():
    assert filtered(peek_at_child, Toggles(debugger=True)) == (0, 0, 0, 0, errno.EPERM)


def test_every_thread_has_the_filter():
    def threads():
        gate = threading.Event()
        workers = [threading.Thread(target=gate.wait) for _ in range(3)]
        for worker in workers:
            worker.start()
        seccomp.install(filters.egress(), all_threads=True)
        late = threading.Thread(target=gate.wait)
        late.start()
        found = []
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/status") as status:
                found += [line.split()[1] for line in status if line.startswith("Seccomp:")]
        gate.set()
        for worker in (*workers, late):
            worker.join()
        return found

    assert unfiltered(threads) == ["2"] * 5


def test_a_filter_on_one_thread_only_is_what_the_test_above_would_see():
    def threads():
        gate = threading.Event()
        worker = threading.Thread(target=gate.wait)
        worker.start()
        seccomp.install(filters.egress())
        with open(f"/proc/self/task/{worker.native_id}/status") as status:
            found = [line.split()[1] for line in status if line.startswith("Seccomp:")]
        gate.set()
        worker.join()
        return found

    assert unfiltered(threads) == ["0"]


def test_without_no_new_privs_there_is_no_filter():
    def forgotten():
        os.setresuid(2001, 2001, 2001)
        return attempt(seccomp.install, filters.workload(Toggles()))

    assert in_child(forgotten) == errno.EACCES


def victim():
    """A process of the workload's uid that stands for the supervisor."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.setresuid(2001, 2001, 2001)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            time.sleep(60)
    return pid


def test_a_supervisor_of_the_same_uid_cannot_be_harmed():
    pid = victim()

    def harm():
        read, _ = os.pipe()
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
        limit = ctypes.create_string_buffer(struct.pack("=QQ", 1, 1), 16)
        owner = ctypes.create_string_buffer(struct.pack("=ii", 1, pid), 8)
        mask = ctypes.create_string_buffer(b"\1" * 8, 8)
        return {
            "kill": attempt(os.kill, pid, signal.SIGTERM),
            "kill its group": attempt(os.kill, -pid, signal.SIGTERM),
            "kill everybody": attempt(os.kill, -1, signal.SIGTERM),
            "tkill": syscall("tkill", pid, signal.SIGTERM),
            "tgkill": syscall("tgkill", pid, pid, signal.SIGTERM),
            "pidfd_open": attempt(os.pidfd_open, pid),
            "pidfd_send_signal": syscall("pidfd_send_signal", directory, signal.SIGTERM),
            "F_SETOWN": syscall("fcntl", read, 8, pid | DIRTY),
            "F_SETOWN_EX": syscall("fcntl", read, 15, ctypes.addressof(owner)),
            "prlimit64": syscall("prlimit64", pid, 0, ctypes.addressof(limit), 0),
            "nice": attempt(os.setpriority, os.PRIO_PROCESS, pid, 19),
            "nice all": attempt(os.setpriority, os.PRIO_USER, 0, 19),
            "affinity": syscall("sched_setaffinity", pid, 8, ctypes.addressof(mask)),
            "itself": attempt(os.kill, os.getpid(), 0),
            "own limit": syscall("prlimit64", 0, 0, 0, 0),
        }

    def everybody_else_alone():
        # kill(-1) must not reach the machine's other processes of the uid, so not even be tried
        # where the guard is missing: the paired case leaves it out.
        become_workload()
        return attempt(os.kill, pid, 0), attempt(os.setpriority, os.PRIO_PROCESS, pid, 1)

    try:
        found = filtered(harm, guarded=(pid,))
        assert (found.pop("itself"), found.pop("own limit")) == (0, 0)
        assert found.pop("pidfd_send_signal") == errno.ENOSYS
        assert set(found.values()) == {errno.EPERM}, found
        assert in_child(everybody_else_alone) == (0, 0)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


HELPER = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Numbers of the i386 table, through the door for 32-bit programs. */
static long int80(long number, long first, long second, long third) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return answer;
}

int main(int argc, char **argv) {
    if (argc < 2) return 3;
    if (!strcmp(argv[1], "getpid")) return int80(20, 0, 0, 0) == getpid() ? 0 : 1;
    if (!strcmp(argv[1], "socket")) return int80(359, 16, 3, 12) >= 0 ? 0 : 1;
    return getpid() > 0 ? 0 : 1;
}
"""


@pytest.fixture(scope="module")
def helper():
    with workplace() as directory:
        source, program = directory / "int80.c", directory / "int80"
        source.write_text(HELPER)
        subprocess.run(["gcc", "-O1", "-o", program, source], check=True)
        yield str(program)


@pytest.mark.parametrize(
    ("what", "plain", "under_filter"),
    [
        ("getpid", 0, -signal.SIGSYS),
        ("socket", 0, -signal.SIGSYS),  # nf_tables, by the other table
        ("native", 0, 0),
    ],
)
def test_the_doors_for_other_programs_are_shut(helper, what, plain, under_filter):
    def run():
        return subprocess.run([helper, what]).returncode

    assert unfiltered(run) == plain
    assert filtered(run) == under_filter


def test_the_filter_is_inherited_by_what_is_executed():
    def execute():
        command = [sys.executable if os.access(sys.executable, os.X_OK) else "/usr/bin/python3"]
        code = "import os; print(open('/proc/self/status').read().split('Seccomp:')[1].split()[0])"
        return subprocess.run([*command, "-c", code], capture_output=True, text=True).stdout

    assert filtered(execute) == "2\n"


def test_a_machine_without_a_table_is_refused():
    """Under a 32-bit disguise uname says i686: then there is no filter to choose."""

    def disguised():
        libc.personality(0x0008)  # PER_LINUX32
        with pytest.raises(Refusal) as refusal:
            filters.workload(Toggles())
        return refusal.value.code.name, refusal.value.cause

    code, cause = in_child(disguised)
    assert code == "kernel.unsupported-architecture"
    assert "i686" in cause
