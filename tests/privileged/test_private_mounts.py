"""An own /proc and /dev/shm on the real kernel, in namespaces of the test's own."""

import errno
import os
import signal

import pytest
from support.confined import WORKLOAD, become_workload
from support.forked import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, in_child

from supervisor.kernel.libc import SyscallError
from supervisor.startup.private_mounts import (
    MASKED,
    keep_mounts_private,
    mount_private_proc,
    mount_private_shm,
    shm_size,
)


def as_init(function):
    """Call ``function`` as process 1 of a PID namespace and mount namespace of its own."""
    return in_child(lambda: in_child(function), unshare=CLONE_NEWNS | CLONE_NEWPID)


def pids():
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def test_a_fresh_proc_shows_the_namespace_and_nothing_else():
    def inside():
        keep_mounts_private()
        before = len(pids())
        mount_private_proc(own_pid_namespace=True)
        child = os.fork()
        if child == 0:
            signal.pause()
        return before, os.getpid(), pids() == {1, child}

    before, mine, alone = as_init(inside)
    assert before > 2
    assert (mine, alone) == (1, True)


def test_without_an_own_pid_namespace_foreign_processes_are_hidden():
    def inside():
        keep_mounts_private()
        mount_private_proc(own_pid_namespace=False)
        become_workload()
        owners = {os.stat(f"/proc/{pid}").st_uid for pid in pids()}
        with pytest.raises(FileNotFoundError):
            os.stat("/proc/1")
        return len(pids()), owners

    def unhidden():
        become_workload()
        return len(pids())

    hidden, owners = in_child(inside, unshare=CLONE_NEWNS)
    assert hidden < in_child(unhidden)
    assert owners <= {0, WORKLOAD}  # its own is root's while it is not dumpable


def test_sensitive_files_are_masked():
    def inside():
        keep_mounts_private()
        mount_private_proc(own_pid_namespace=True)
        found = {}
        for path in filter(os.path.exists, MASKED):
            if os.path.isdir(path):
                found[path] = os.listdir(path)
            else:
                with open(path, "rb") as file:
                    found[path] = file.read(1)
        return found

    found = as_init(inside)
    assert "/proc/interrupts" in found
    assert not any(found.values()), found
    with open("/proc/interrupts", "rb") as plain:
        assert plain.read(1)


def test_shared_memory_is_not_shared_with_the_container():
    outer = "/dev/shm/sandbox-test-outer"
    with open(outer, "wb"):
        pass

    def inside():
        keep_mounts_private()
        mount_private_shm(1 << 20)
        become_workload()
        seen = os.listdir("/dev/shm")
        with open("/dev/shm/inner", "wb", buffering=0) as file:
            file.write(bytes(4096))
            with pytest.raises(OSError, match="No space left"):
                file.write(bytes(2 << 20)), file.write(b"x")
        return seen, shm_size()

    try:
        assert in_child(inside, unshare=CLONE_NEWNS) == ([], 1 << 20)
        assert "inner" not in os.listdir("/dev/shm")
    finally:
        os.unlink(outer)


def test_nothing_mounted_inside_is_seen_outside():
    def mounts():
        with open("/proc/self/mountinfo") as file:
            return len(file.readlines())

    before = mounts()

    def inside():
        keep_mounts_private()
        mount_private_shm(1 << 20)
        return mounts()

    assert in_child(inside, unshare=CLONE_NEWNS) == before + 1
    assert mounts() == before


def test_what_the_kernel_refuses_is_raised():
    """A user namespace without a PID namespace of its own may not mount /proc."""

    def inside():
        with pytest.raises(SyscallError) as refused:
            mount_private_proc(own_pid_namespace=True)
        return refused.value.syscall, refused.value.errno

    assert in_child(inside, unshare=CLONE_NEWUSER | CLONE_NEWNS) == ("mount", errno.EPERM)
