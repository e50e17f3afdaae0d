"""What an unprivileged workload may call: an allow-list, and a reason for everything refused.

Modelled on the container engines' default profile as it stands for a process without any
capability (containers/common ``pkg/seccomp/seccomp.json``), minus what only widens the kernel's
surface for code nobody trusts. Every known call is either allowed or refused here by name; a test
holds the two against the table of numbers. Calls that no row names are answered ENOSYS.

Which errno: EPERM says "refused"; ENOSYS where programs then take an older way that we allow;
EPROTONOSUPPORT where libraries take it for "this kernel has no such protocol" and go on.
"""

import errno

from supervisor.kernel.seccomp_table.model import ALLOW, AnyBit, Case, Rule, Switch, refuse
from supervisor.kernel.seccomp_table.sockets import SOCKET_RULES

EPERM = refuse(errno.EPERM)
ENOSYS = refuse(errno.ENOSYS)

# linux/sched.h. CLONE_NEWTIME shares its bit with the exit signal of clone(2), where no valid
# signal has it: including it costs nothing and covers unshare(2).
NEW_NAMESPACE = 0x7E020080
# linux/sched.h, linux/close_range.h. /proc/PID/fd shows the first thread's table: a thread with one
# of its own could hold connections that nobody can tell who they belong to.
CLONE_FILES, CLONE_THREAD = 0x400, 0x10000
CLOSE_RANGE_UNSHARE = 0x2
# linux/memfd.h
MFD_NOEXEC_SEAL, MFD_EXEC = 0x08, 0x10
# asm-generic/ioctls.h, the same on both architectures
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
# linux/personality.h: Linux, its 32-bit and its "2.6.x" disguise, and "tell me which" (0xffffffff)
HARMLESS_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

ALLOWED = (
    Rule(
        "open openat openat2 creat stat lstat newfstatat statx access faccessat faccessat2 readlink"
        " readlinkat statfs mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link"
        " linkat symlink symlinkat truncate chdir getcwd mknod mknodat name_to_handle_at",
        ALLOW,
        "files by path: Landlock and the file's own permissions decide",
    ),
    Rule(
        "chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat getxattr"
        " lgetxattr listxattr llistxattr setxattr lsetxattr removexattr lremovexattr getxattrat"
        " listxattrat setxattrat removexattrat fchmod fchown fgetxattr flistxattr fsetxattr"
        " fremovexattr",
        ALLOW,
        "attributes of files: the kernel asks for ownership; the workload has no capability",
    ),
    Rule(
        "read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 lseek close"
        " dup dup2 dup3 fcntl fstat fstatfs ftruncate fallocate fsync fdatasync sync"
        " syncfs sync_file_range fadvise64 readahead getdents getdents64 fchdir flock umask"
        " copy_file_range sendfile splice tee",
        ALLOW,
        "work on descriptors that the process already holds",
    ),
    Rule(
        "pipe pipe2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime"
        " timerfd_gettime epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
        " poll ppoll select pselect6 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
        ALLOW,
        "pipes, events and waiting",
    ),
    Rule(
        "io_setup io_submit io_getevents io_pgetevents io_destroy io_cancel",
        ALLOW,
        "the older asynchronous I/O of databases, on held descriptors only",
    ),
    Rule(
        "mmap mprotect munmap mremap brk madvise mincore msync mlock mlock2 munlock mlockall"
        " munlockall remap_file_pages membarrier pkey_alloc pkey_free pkey_mprotect mseal"
        " map_shadow_stack mbind get_mempolicy set_mempolicy",
        ALLOW,
        "the process' own memory",
    ),
    Rule(
        "fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid getpgid"
        " setpgid getpgrp getsid setsid prctl arch_prctl set_tid_address set_robust_list"
        " get_robust_list rseq futex futex_waitv futex_wake futex_wait futex_requeue pidfd_open"
        " pidfd_send_signal restart_syscall",
        ALLOW,
        "processes and threads of its own",
    ),
    Rule(
        "getuid geteuid getresuid getgid getegid getresgid getgroups setuid setreuid setresuid"
        " setfsuid setgid setregid setresgid setfsgid setgroups capget capset",
        ALLOW,
        "identity: without a capability the kernel lets nothing but the own ids be set",
    ),
    Rule(
        "getrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get"
        " ioprio_set sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam"
        " sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max"
        " sched_get_priority_min sched_rr_get_interval getcpu",
        ALLOW,
        "limits and scheduling, of processes of its own uid; hard limits only go down",
    ),
    Rule(
        "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo rt_sigaction rt_sigprocmask"
        " rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigreturn sigaltstack pause alarm",
        ALLOW,
        "signals: uid, PID namespace and Landlock's scope decide whom they reach",
    ),
    Rule(
        "nanosleep getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun"
        " timer_delete clock_gettime clock_getres clock_nanosleep gettimeofday time adjtimex"
        " clock_adjtime",
        ALLOW,
        "clocks and timers; setting a clock needs a capability it does not have",
    ),
    Rule(
        "shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl"
        " mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr",
        ALLOW,
        "System V and POSIX IPC (PostgreSQL needs shmget): private with the IPC namespace",
    ),
    Rule(
        "bind connect listen accept accept4 getsockname getpeername getsockopt sendto recvfrom"
        " sendmsg recvmsg sendmmsg recvmmsg shutdown",
        ALLOW,
        "work on sockets; which sockets may exist is decided at socket(2)",
    ),
    Rule("uname sysinfo getrandom", ALLOW, "plain questions to the kernel"),
    Rule(
        "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        ALLOW,
        "a program may confine itself further, never less",
    ),
    Rule(
        "seccomp",
        ALLOW,
        "a further filter can only refuse more: of all filters the strictest answer wins, and a"
        " call refused here never reaches a listener. Browsers and build tools sandbox themselves",
    ),
    Rule(
        "uretprobe uprobe",
        ALLOW,
        "made by the kernel's own trampoline when the host traces a program; anything else that"
        " calls them is killed by the kernel",
    ),
)

THREADS_SHARE_FILES = AnyBit(0, CLONE_THREAD, AnyBit(0, CLONE_FILES, ALLOW, EPERM), ALLOW)

CONDITIONAL = (
    *SOCKET_RULES,
    Rule(
        "clone",
        AnyBit(0, NEW_NAMESPACE, EPERM, THREADS_SHARE_FILES),
        "threads and processes, but no new namespace: one would hand out capabilities inside it;"
        " and no thread with a file table of its own",
    ),
    Rule(
        "unshare",
        AnyBit(0, NEW_NAMESPACE | CLONE_FILES, EPERM, ALLOW),
        "an own working directory, but no new namespace, and no thread with an own file table",
    ),
    Rule(
        "close_range",
        AnyBit(2, CLOSE_RANGE_UNSHARE, refuse(errno.EINVAL), ALLOW),
        "not as a way to an own file table; EINVAL is what older kernels say of a flag",
    ),
    Rule(
        "clone3",
        ENOSYS,
        "its flags are in memory, where a filter cannot look; every libc falls back to clone",
    ),
    Rule(
        "ioctl",
        Switch(1, (Case((TIOCSTI, TIOCLINUX, TIOCSETD), EPERM),), ALLOW),
        "TIOCSTI and TIOCLINUX type into the terminal of whoever attached (CVE-2017-5226 and"
        " later); TIOCSETD loads line disciplines. Device ioctls are Landlock's",
    ),
    Rule(
        "personality",
        Switch(0, (Case(HARMLESS_PERSONALITIES, ALLOW),), EPERM),
        "disguises of uname only: READ_IMPLIES_EXEC and ADDR_NO_RANDOMIZE weaken the process",
    ),
    Rule(
        "memfd_create",
        AnyBit(1, MFD_EXEC, ENOSYS, AnyBit(1, MFD_NOEXEC_SEAL, ALLOW, ENOSYS)),
        "only files that can never be executed: Landlock has no say over anonymous files. ENOSYS"
        " makes older programs use a temporary file",
    ),
)

REFUSED = (
    Rule(
        "io_uring_setup io_uring_enter io_uring_register",
        EPERM,
        "its operations pass by every filter, and its history of exploits is long",
    ),
    Rule("bpf", EPERM, "loads programs into the kernel"),
    Rule("perf_event_open", EPERM, "samples other processes and the kernel"),
    Rule("userfaultfd", EPERM, "stops the kernel in the middle of a copy: makes races winnable"),
    Rule("add_key request_key keyctl", EPERM, "keyrings are shared by all containers of a uid"),
    Rule("open_by_handle_at", EPERM, "opens by inode number, past every path (shocker)"),
    Rule(
        "mount umount2 pivot_root fsopen fsconfig fsmount fspick open_tree open_tree_attr"
        " move_mount mount_setattr chroot",
        EPERM,
        "the tree of files is ours to arrange",
    ),
    Rule("setns", EPERM, "joins namespaces of others"),
    Rule(
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd"
        " kcmp",
        EPERM,
        "reaches into other processes: memory, descriptors, identity of their objects",
    ),
    Rule(
        "init_module finit_module delete_module create_module query_module get_kernel_syms"
        " kexec_load kexec_file_load reboot",
        EPERM,
        "replaces the kernel or parts of it",
    ),
    Rule("syslog", EPERM, "the kernel's log is the whole host's"),
    Rule(
        "settimeofday clock_settime sethostname setdomainname swapon swapoff acct quotactl"
        " quotactl_fd vhangup iopl ioperm nfsservctl lookup_dcookie uselib",
        EPERM,
        "administration of the machine",
    ),
    Rule("fanotify_init fanotify_mark", EPERM, "watches files of others"),
    Rule("vmsplice", EPERM, "gifts pages to pipes: repeatedly a way to write to read-only files"),
    Rule("modify_ldt", EPERM, "16-bit segments: entry paths of the kernel nobody else tests"),
    Rule("migrate_pages move_pages", EPERM, "moves memory of other processes"),
    Rule(
        "lsm_get_self_attr lsm_set_self_attr lsm_list_modules",
        EPERM,
        "the security modules are the host's matter",
    ),
    Rule(
        "memfd_secret set_mempolicy_home_node cachestat statmount listmount file_getattr"
        " file_setattr ustat sysfs set_thread_area get_thread_area epoll_ctl_old epoll_wait_old"
        " _sysctl getpmsg putpmsg afs_syscall tuxcall security vserver",
        ENOSYS,
        "too new, too old or never implemented: programs have another way",
    ),
)

BASE = (*ALLOWED, *CONDITIONAL, *REFUSED)
