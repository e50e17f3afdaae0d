"""Constants that we wrote down, against the C headers: the compiler compares them."""

import subprocess

from supervisor.kernel import bpf, landlock, mount, seccomp
from supervisor.kernel.seccomp_table import model, roles, sockets, toggles, workload

HEADERS = (
    "errno.h fcntl.h sched.h sys/mount.h sys/personality.h sys/resource.h sys/socket.h"
    " netinet/in.h asm/ioctls.h linux/bpf_common.h linux/ioprio.h linux/landlock.h linux/netlink.h"
    " linux/seccomp.h linux/sockios.h linux/prctl.h stddef.h linux/filter.h"
)
# Module, what the header puts before our name, names.
SAME_NAME = [
    (landlock, "LANDLOCK_ACCESS_FS_", "EXECUTE WRITE_FILE READ_FILE READ_DIR REMOVE_DIR REFER"),
    (landlock, "LANDLOCK_ACCESS_FS_", "REMOVE_FILE MAKE_CHAR MAKE_DIR MAKE_REG MAKE_SOCK"),
    (landlock, "LANDLOCK_ACCESS_FS_", "MAKE_FIFO MAKE_BLOCK MAKE_SYM"),
    (model, "SECCOMP_RET_", "KILL_PROCESS ALLOW"),
    (mount, "", "MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_BIND MS_REC"),
    (mount, "", "MS_PRIVATE MNT_DETACH"),
    (roles, "", "CLONE_THREAD FIONREAD FIONBIO FIONCLEX FIOCLEX TCGETS TIOCGWINSZ"),
    (seccomp, "SECCOMP_", "SET_MODE_FILTER"),
    (sockets, "", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    (sockets, "", "SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_SEQPACKET"),
    (sockets, "", "IPPROTO_IP IPPROTO_TCP IPPROTO_UDP"),
    (sockets, "", "NETLINK_ROUTE NETLINK_SOCK_DIAG NETLINK_NETFILTER"),
    (toggles, "", "ADDR_NO_RANDOMIZE F_SETOWN F_SETOWN_EX FIOSETOWN SIOCSPGRP"),
    (toggles, "", "PRIO_USER IOPRIO_WHO_USER"),
    (workload, "", "TIOCSTI TIOCLINUX TIOCSETD"),
]
EXPRESSIONS = {
    "CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID"
    " | CLONE_NEWNET | CLONE_NEWTIME": workload.NEW_NAMESPACE,
    "CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC": toggles.BROWSER_NAMESPACES,
    "SECCOMP_FILTER_FLAG_TSYNC": seccomp.FLAG_TSYNC,
    "SECCOMP_RET_ERRNO | EPERM": workload.EPERM,
    "SECCOMP_RET_ERRNO | EPROTONOSUPPORT": sockets.NO_PROTOCOL,
    "BPF_LD | BPF_W | BPF_ABS": bpf.LOAD_WORD,
    "BPF_ALU | BPF_AND | BPF_K": bpf.AND,
    "BPF_JMP | BPF_JA": bpf.JUMP,
    "BPF_RET | BPF_K": bpf.RETURN,
    "BPF_JMP | BPF_JEQ | BPF_K": bpf.JUMP_EQUAL,
    "BPF_JMP | BPF_JGE | BPF_K": bpf.JUMP_GREATER_EQUAL,
    "BPF_JMP | BPF_JSET | BPF_K": bpf.JUMP_ANY_BIT,
    "BPF_MAXINSNS": bpf.MAX_INSTRUCTIONS,
    "offsetof(struct seccomp_data, nr)": bpf.NUMBER_OFFSET,
    "offsetof(struct seccomp_data, arch)": bpf.ARCHITECTURE_OFFSET,
    "offsetof(struct seccomp_data, args[5])": bpf.argument_offset(5),
    "sizeof(struct sock_filter)": seccomp.INSTRUCTION_SIZE,
}
TERMINAL_REQUESTS = "TCSETS TCSETSW TCSETSF TIOCSWINSZ TIOCGPTN TIOCSPTLCK TIOCGPTPEER"


def asserted():
    for module, prefix, names in SAME_NAME:
        for name in names.split():
            yield f"{prefix}{name}", getattr(module, name)
    yield from EXPRESSIONS.items()
    yield from zip(TERMINAL_REQUESTS.split(), roles.TERMINAL_REQUESTS, strict=True)


def compile_asserts(pairs):
    source = "#define _GNU_SOURCE\n" + "".join(f"#include <{name}>\n" for name in HEADERS.split())
    for expression, value in pairs:
        source += f'_Static_assert((unsigned)({expression}) == {value}u, "{expression}");\n'
    command = ["gcc", "-x", "c", "-fsyntax-only", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True)


def test_every_constant_is_the_headers():
    done = compile_asserts(list(asserted()))
    assert done.returncode == 0, done.stderr


def test_the_compiler_would_notice_a_wrong_one():
    assert "SECCOMP_RET_ALLOW" in compile_asserts([("SECCOMP_RET_ALLOW", 1)]).stderr
