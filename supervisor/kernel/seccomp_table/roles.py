"""The filters of our own processes, as data.

The monitor's is inherited by everything it launches, so it is the workload's base table with the
privileged calls of the launch on top. Egress and access never start a program: theirs is a short
list, and every other call is refused.
"""

import errno

from supervisor.kernel.seccomp_table.model import ALLOW, AnyBit, Case, Rule, Switch, refuse
from supervisor.kernel.seccomp_table.sockets import (
    INTERNET_OF_THE_PROOF,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NETLINK_SOCK_DIAG,
    SOCKET_RULES,
    socket_decision,
)

EPERM = refuse(errno.EPERM)

CLONE_THREAD = 0x00010000  # linux/sched.h
# asm-generic/ioctls.h: what the standard library asks of descriptors
FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS, TIOCGWINSZ = (
    0x541B,
    0x5421,
    0x5450,
    0x5451,
    0x5401,
    0x5413,
)
# asm-generic/ioctls.h: what a terminal server asks of its side of a pseudo-terminal
TERMINAL_REQUESTS = (0x5402, 0x5403, 0x5404, 0x5414, 0x80045430, 0x40045431, 0x5441)

MONITOR = (
    Rule(
        "clone unshare setns",
        ALLOW,
        "launching puts the workload into its namespaces, and sessions into the same ones",
    ),
    Rule(
        "mount umount2 pivot_root fsopen fsconfig fsmount open_tree move_mount mount_setattr chroot",
        ALLOW,
        "launching arranges /proc, /dev/shm and /tmp of the workload",
    ),
    Rule("sethostname", ALLOW, "launching names the workload's UTS namespace"),
    Rule(
        "memfd_create",
        ALLOW,
        "tables that outlive a helper; the seal flag asked of the workload needs Linux 6.3",
    ),
    Rule(
        "socket",
        socket_decision(
            (NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER), INTERNET_OF_THE_PROOF
        ),
        "as the workload's, and the netlinks that own a fence and find a socket's process; and what"
        " the proof, made again in a child of ours, has to send for the fence to refuse it",
    ),
)

INIT = (
    Rule(
        "poll ppoll rt_sigreturn restart_syscall clock_gettime exit exit_group",
        ALLOW,
        "waiting for the monitor's end, and its own",
    ),
)

_RUNNING = (
    Rule("mmap munmap mprotect mremap madvise brk membarrier", ALLOW, "memory"),
    Rule(
        "futex rt_sigaction rt_sigprocmask rt_sigreturn restart_syscall sigaltstack clock_gettime"
        " getpid gettid exit exit_group",
        ALLOW,
        "running at all",
    ),
)

WATCHER = (
    Rule("recvfrom sendto poll ppoll", ALLOW, "what the fence logs, and the monitor"),
    Rule("write close", ALLOW, "last words on stderr, and its ends"),
    Rule("pwrite64", ALLOW, "its numbers, in memory that the responder reads"),
    *_RUNNING,
)

RESPONDER = (
    Rule("recvmsg sendto poll ppoll", ALLOW, "the monitor, which hands it connections"),
    Rule("read write close", ALLOW, "a request, its answer, its end"),
    Rule("pread64", ALLOW, "the numbers of the others"),
    *_RUNNING,
)

_STREAMS = (
    Rule(
        "read write readv writev pread64 pwrite64 lseek close close_range dup dup2 dup3 fcntl fstat"
        " ftruncate pipe pipe2 splice tee sendfile eventfd eventfd2 epoll_create1 epoll_ctl"
        " epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6 fsync fadvise64",
        ALLOW,
        "descriptors, relaying and waiting",
    ),
    Rule(
        "bind connect listen accept accept4 getsockname getpeername getsockopt sendto recvfrom"
        " sendmsg recvmsg sendmmsg recvmmsg shutdown",
        ALLOW,
        "sockets",
    ),
    Rule(
        "openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getcwd"
        " getdents64",
        ALLOW,
        "the few files that Landlock leaves it",
    ),
    Rule(
        "mmap munmap mprotect mremap madvise brk mlock mlock2 munlock membarrier memfd_create",
        ALLOW,
        "memory; an anonymous file cannot be executed where nothing can",
    ),
    Rule(
        "clone",
        AnyBit(0, CLONE_THREAD, ALLOW, EPERM),
        "threads for hashing and certificates, no processes",
    ),
    Rule("clone3", refuse(errno.ENOSYS), "its flags are in memory; libc falls back to clone"),
    Rule(
        "exit exit_group futex futex_wait futex_wake futex_requeue futex_waitv set_robust_list rseq"
        " rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack restart_syscall"
        " sched_yield sched_getaffinity getpid gettid getppid getuid geteuid getgid getegid"
        " getresuid getresgid getgroups getrlimit getrusage uname sysinfo getrandom getcpu uretprobe"
        " uprobe",
        ALLOW,
        "running at all",
    ),
    Rule(
        "nanosleep clock_gettime clock_getres clock_nanosleep gettimeofday time timerfd_create"
        " timerfd_settime timerfd_gettime",
        ALLOW,
        "time",
    ),
    Rule("prlimit64", Switch(0, (Case((0,), ALLOW),), EPERM), "its own limits, nobody else's"),
    Rule(
        "prctl",
        # PR_SET_NAME, PR_GET_NAME, PR_SET_DUMPABLE, PR_GET_DUMPABLE; PR_SET_VMA names heaps
        Switch(0, (Case((15, 16, 4, 3, 0x53564D41), ALLOW),), EPERM),
        "thread names, and staying undumpable",
    ),
    Rule(
        "tgkill",
        ALLOW,
        "abort(3) signals its own thread; the kernel's checks by uid keep it from others",
    ),
    *SOCKET_RULES,
)

EGRESS = (
    *_STREAMS,
    Rule(
        "ioctl",
        Switch(
            1, (Case((FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS, TIOCGWINSZ), ALLOW),), EPERM
        ),
        "blocking mode and close-on-exec",
    ),
)

ACCESS = (
    *_STREAMS,
    Rule(
        "ioctl",
        Switch(
            1,
            (
                Case((FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS, TIOCGWINSZ), ALLOW),
                Case(TERMINAL_REQUESTS, ALLOW),
            ),
            EPERM,
        ),
        "as egress, and its side of the pseudo-terminals: modes, size, lock, number, peer",
    ),
)
