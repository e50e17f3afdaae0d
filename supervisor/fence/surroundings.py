"""What the container and the kernel allow, as far as a fence depends on it. Reads, never tries."""

CAP_SETGID = 6
CAP_SETUID = 7
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
CAP_SETFCAP = 31

STATUS = "/proc/self/status"
IPV6_SWITCH = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
SECCOMP_FILTERED = "2"

# Switches that forbid the namespaces: file, the value that does, and what to say about it.
SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces is 0"),
    ("/proc/sys/user/max_net_namespaces", "0", "sysctl user.max_net_namespaces is 0"),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone is 0",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns is 1",
    ),
)


def effective_capabilities() -> frozenset[int]:
    """Numbers of the capabilities in the effective set of this process (capabilities(7))."""
    bits = int(_status("CapEff"), 16)
    return frozenset(number for number in range(64) if bits >> number & 1)


def may_make_network_namespace(capabilities: frozenset[int]) -> bool:
    """Can a network namespace be made and filled without a user namespace?"""
    return {CAP_SYS_ADMIN, CAP_NET_ADMIN} <= capabilities


def may_map_all_ids(capabilities: frozenset[int]) -> bool:
    """Can a user namespace be given more than our own id?"""
    return {CAP_SETUID, CAP_SETGID} <= capabilities


def has_ipv6() -> bool:
    """Can lo have an IPv6 address? Not with ipv6.disable=1 on the kernel's command line or the
    sysctl disable_ipv6."""
    try:
        with open(IPV6_SWITCH, encoding="utf-8") as switch:
            return switch.readline().strip() == "0"
    except FileNotFoundError:
        return False


def obstacles() -> list[str]:
    """Facts that may explain why no namespace can be made, in words."""
    capabilities = effective_capabilities()
    found = []
    if not may_make_network_namespace(capabilities):
        names = {CAP_SYS_ADMIN: "CAP_SYS_ADMIN", CAP_NET_ADMIN: "CAP_NET_ADMIN"}
        missing = [name for number, name in names.items() if number not in capabilities]
        found.append(f"{' and '.join(missing)} missing")
    if _status("Seccomp") == SECCOMP_FILTERED:
        found.append("a seccomp profile is active")
    found += [words for path, forbidding, words in SWITCHES if _first_line(path) == forbidding]
    return found


def _status(field: str) -> str:
    with open(STATUS, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
    raise LookupError(f"{STATUS} has no {field}")


def _first_line(path: str) -> str | None:
    """The switch's value; None where this kernel has no such switch."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return None
