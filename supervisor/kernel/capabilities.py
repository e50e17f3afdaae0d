"""Names and numbers of capabilities(7), as linux/capability.h counts them."""

from collections.abc import Iterable

NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()


def names(mask: int) -> tuple[str, ...]:
    """The capabilities in a bit mask; one the table does not know is ``CAP_<number>``."""
    return tuple(
        NAMES[number] if number < len(NAMES) else f"CAP_{number}"
        for number in range(mask.bit_length())
        if mask >> number & 1
    )


def numbers(wanted: Iterable[str]) -> tuple[int, ...]:
    """The numbers of named capabilities."""
    return tuple(NAMES.index(name) for name in wanted)


def has(mask: int, name: str) -> bool:
    """True if the named capability is in the mask."""
    return bool(mask >> NAMES.index(name) & 1)
