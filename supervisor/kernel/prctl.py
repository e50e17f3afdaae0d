"""prctl(2) and the capability sets, through python-prctl; ambient capabilities through libc.

python-prctl has no ambient set and refuses SECBIT_NO_CAP_AMBIENT_RAISE, so those two calls go
to libc (``linux/prctl.h``, ``linux/securebits.h``). Everything raises SyscallError.
"""

import ctypes
from collections.abc import Callable, Sequence

import prctl

from supervisor.kernel.libc import SyscallError, check, libc

PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECBIT_NO_CAP_AMBIENT_RAISE = 0x40
SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 0x80
# uid 0 means nothing any more, and no process below can make it mean something again:
# capabilities(7), "The securebits flags".
SECUREBITS = (
    prctl.SECBIT_NOROOT
    | prctl.SECBIT_NOROOT_LOCKED
    | prctl.SECBIT_NO_SETUID_FIXUP_LOCKED
    | prctl.SECBIT_KEEP_CAPS_LOCKED
    | SECBIT_NO_CAP_AMBIENT_RAISE
    | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
)
CAP_LAST_CAP_PATH = "/proc/sys/kernel/cap_last_cap"


def _call(name: str, function: Callable[..., object], *arguments: object) -> object:
    try:
        return function(*arguments)
    except OSError as error:
        raise SyscallError(error.errno or 0, f"prctl({name})") from error


def _libc_prctl(name: str, option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    check(libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero), f"prctl({name})")


def cap_last_cap() -> int:
    """The highest capability this kernel knows; never taken from a header."""
    with open(CAP_LAST_CAP_PATH, encoding="ascii") as file:
        return int(file.read())


def capbset_drop_all() -> None:
    """Empty the bounding set (PR_CAPBSET_DROP); needs CAP_SETPCAP, so before the uid changes."""
    for capability in range(cap_last_cap() + 1):
        _call("PR_CAPBSET_DROP", prctl.capbset_drop, capability)


def lock_securebits() -> None:
    """Set and lock SECUREBITS (PR_SET_SECUREBITS); needs CAP_SETPCAP."""
    _libc_prctl("PR_SET_SECUREBITS", PR_SET_SECUREBITS, SECUREBITS)


def get_securebits() -> int:
    """PR_GET_SECUREBITS."""
    zero = ctypes.c_ulong(0)
    return check(libc.prctl(PR_GET_SECUREBITS, zero, zero, zero, zero), "prctl(PR_GET_SECUREBITS)")


def clear_ambient() -> None:
    """PR_CAP_AMBIENT_CLEAR_ALL; needs no privilege."""
    _libc_prctl("PR_CAP_AMBIENT", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def clear_capabilities() -> None:
    """Empty effective, permitted and inheritable, in the order the kernel accepts."""
    for name, limit in (
        ("effective", prctl.cap_effective.limit),
        ("permitted", prctl.cap_permitted.limit),
        ("inheritable", prctl.cap_inheritable.limit),
    ):
        _call(f"capset {name}", limit)


def keep_capabilities(kept: Sequence[int]) -> None:
    """Give up every capability but ``kept`` for good: effective, permitted, inheritable.

    What is not held is not gained; the order is the one that the kernel accepts.
    """
    held = [number for number in kept if getattr(prctl.cap_permitted, _attribute(number))]
    for name, limit in (
        ("effective", prctl.cap_effective.limit),
        ("permitted", prctl.cap_permitted.limit),
    ):
        _call(f"capset {name}", limit, *held)
    _call("capset inheritable", prctl.cap_inheritable.limit)


def _attribute(number: int) -> str:
    return str(prctl.ALL_CAP_NAMES[prctl.ALL_CAPS.index(number)])


def set_no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS: irrevocable, inherited across fork and exec."""
    _call("PR_SET_NO_NEW_PRIVS", prctl.set_no_new_privs, 1)


def set_pdeathsig(signal: int) -> None:
    """PR_SET_PDEATHSIG; setresuid and setresgid clear it, so after the last of them."""
    _call("PR_SET_PDEATHSIG", prctl.set_pdeathsig, signal)


def set_child_subreaper() -> None:
    """PR_SET_CHILD_SUBREAPER: orphans of ours come back to us."""
    _call("PR_SET_CHILD_SUBREAPER", prctl.set_child_subreaper, 1)


def set_undumpable() -> None:
    """PR_SET_DUMPABLE 0: no core, no ptrace, and /proc/PID belongs to root. exec resets it."""
    _call("PR_SET_DUMPABLE", prctl.set_dumpable, 0)
