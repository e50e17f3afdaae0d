"""What a policy may open in the workload's filter, and what a shared uid closes.

Each function returns rules that replace those of the same name in the base table.
"""

import errno

from supervisor.kernel.seccomp_table.model import (
    ALL_BITS,
    ALLOW,
    AnyBit,
    Case,
    Decision,
    Rule,
    Switch,
    refuse,
)
from supervisor.kernel.seccomp_table.workload import (
    CLONE_FILES,
    HARMLESS_PERSONALITIES,
    NEW_NAMESPACE,
    THREADS_SHARE_FILES,
    TIOCLINUX,
    TIOCSETD,
    TIOCSTI,
)

EPERM = refuse(errno.EPERM)
ENOSYS = refuse(errno.ENOSYS)

# linux/sched.h: user, PID, network and IPC: what Chromium's and Firefox' own sandboxes create.
BROWSER_NAMESPACES = 0x10000000 | 0x20000000 | 0x40000000 | 0x08000000
ADDR_NO_RANDOMIZE = 0x0040000  # linux/personality.h; gdb starts its programs with it
# fcntl.h, asm/sockios.h: whom a descriptor's SIGIO (or F_SETSIG's choice) goes to
F_SETOWN, F_SETOWN_EX = 8, 15
FIOSETOWN, SIOCSPGRP = 0x8901, 0x8902
# linux/resource.h PRIO_USER and linux/ioprio.h IOPRIO_WHO_USER: "all processes of the uid"
PRIO_USER, IOPRIO_WHO_USER = 2, 3

_OTHER_NAMESPACES = NEW_NAMESPACE & ~BROWSER_NAMESPACES

NESTED_SANDBOX = (
    Rule(
        "clone",
        AnyBit(0, _OTHER_NAMESPACES, EPERM, THREADS_SHARE_FILES),
        "as unshare",
    ),
    Rule(
        "unshare",
        AnyBit(0, _OTHER_NAMESPACES | CLONE_FILES, EPERM, ALLOW),
        "browsers put their renderers into user, PID, network and IPC namespaces. Mounts stay"
        " refused: Landlock would refuse them anyway",
    ),
    Rule("chroot", ALLOW, "browsers empty their renderers' root; needs a capability of their own"),
)

DEBUGGER = (
    Rule(
        "ptrace process_vm_readv process_vm_writev kcmp",
        ALLOW,
        "gdb and strace; Landlock keeps them from processes outside the sandbox",
    ),
    Rule(
        "personality",
        Switch(0, (Case((*HARMLESS_PERSONALITIES, ADDR_NO_RANDOMIZE), ALLOW),), EPERM),
        "gdb starts its programs without address randomisation",
    ),
)


def guard(pids: tuple[int, ...]) -> tuple[Rule, ...]:
    """Refuse what reaches the processes ``pids`` (process and group ids of the supervisor).

    Needed where supervisor and workload share a uid and a PID namespace: the kernel's permission
    checks, all by uid, then let the workload signal, renice or limit us to death. Landlock's
    signal scope covers signals from ABI 6 on, and none of the rest.
    """
    groups = tuple(-pid & ALL_BITS for pid in pids)
    everyone = -1 & ALL_BITS
    return (
        Rule("kill", _unless(0, (*pids, *groups, everyone)), "no signal to the supervisor"),
        Rule(
            "tkill rt_sigqueueinfo pidfd_open",
            _unless(0, pids),
            "no signal to the supervisor, and no handle on it",
        ),
        Rule(
            "tgkill rt_tgsigqueueinfo",
            Switch(0, (Case(pids, EPERM),), _unless(1, pids)),
            "no signal to a thread of the supervisor",
        ),
        Rule(
            "pidfd_send_signal",
            ENOSYS,
            "takes any /proc/PID directory for a handle, which a filter cannot tell apart",
        ),
        Rule(
            "fcntl",
            Switch(
                1,
                (Case((F_SETOWN,), _unless(2, (*pids, *groups))), Case((F_SETOWN_EX,), EPERM)),
                ALLOW,
            ),
            "a descriptor's owner is sent signals by the kernel, in the name of who set it",
        ),
        Rule(
            "ioctl",
            Switch(1, (Case((TIOCSTI, TIOCLINUX, TIOCSETD, FIOSETOWN, SIOCSPGRP), EPERM),), ALLOW),
            "as in the base table; and the socket form of F_SETOWN",
        ),
        Rule(
            "prlimit64",
            Switch(0, (Case((0,), ALLOW),), EPERM),
            "its own limits, nobody else's: a CPU limit of one second ends a process as surely as a "
            "signal, and our helpers, whose numbers are not known here, have its uid, too",
        ),
        Rule(
            "sched_setaffinity sched_setparam sched_setscheduler sched_setattr",
            _unless(0, pids),
            "no starving of the supervisor",
        ),
        Rule(
            "setpriority ioprio_set",
            Switch(0, (Case((PRIO_USER, IOPRIO_WHO_USER), EPERM),), _unless(1, pids)),
            "no starving of the supervisor",
        ),
    )


def _unless(argument: int, values: tuple[int, ...]) -> Decision:
    return Switch(argument, (Case(values, EPERM),), ALLOW)
