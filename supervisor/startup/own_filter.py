"""The monitor's own filter of system calls."""

from policy.model import Policy
from supervisor.kernel import filters, prctl, seccomp


def confine_monitor(policy: Policy) -> None:
    """Our own filter, last: it is inherited by every later launch and covers what those need."""
    syscalls = policy.supervisor.syscalls
    toggles = filters.Toggles(nested_sandbox=syscalls.nested_sandbox, debugger=syscalls.debugger)
    prctl.set_no_new_privs()
    seccomp.install(filters.monitor(toggles))
