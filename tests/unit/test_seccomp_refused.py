"""Calls that no workload and no monitor may make, kept by hand beside the table.

The table is what the filter and the proof are made of, so neither can notice a row that became too
generous. This list is the second opinion: to allow a call, both have to be changed.
"""

import pytest

from supervisor.kernel.filters import Toggles, monitor_rules, workload_rules
from supervisor.kernel.seccomp_table.model import ALLOW

NEVER = """
    io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd
    add_key request_key keyctl open_by_handle_at pidfd_getfd process_madvise process_mrelease
    init_module finit_module delete_module create_module query_module get_kernel_syms
    kexec_load kexec_file_load reboot syslog settimeofday clock_settime setdomainname
    swapon swapoff acct quotactl quotactl_fd vhangup iopl ioperm nfsservctl lookup_dcookie uselib
    fanotify_init fanotify_mark vmsplice modify_ldt migrate_pages move_pages
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules memfd_secret set_mempolicy_home_node
    cachestat statmount listmount file_getattr file_setattr ustat sysfs _sysctl
    open_tree_attr fspick clone3
""".split()
NEVER_IN_THE_WORKLOAD = """
    mount umount2 pivot_root fsopen fsconfig fsmount open_tree move_mount mount_setattr setns
    sethostname
""".split()
ONLY_WITH_A_TOGGLE = "ptrace process_vm_readv process_vm_writev kcmp chroot".split()
ALL_OPEN = Toggles(nested_sandbox=True, debugger=True)


@pytest.mark.parametrize("name", NEVER)
def test_it_is_refused_whatever_the_toggles(name):
    assert workload_rules(ALL_OPEN)[name].decision != ALLOW
    assert monitor_rules(ALL_OPEN)[name].decision != ALLOW


@pytest.mark.parametrize("name", NEVER_IN_THE_WORKLOAD)
def test_it_is_refused_to_the_workload(name):
    assert workload_rules(ALL_OPEN)[name].decision != ALLOW


@pytest.mark.parametrize("name", ONLY_WITH_A_TOGGLE)
def test_it_is_refused_without_a_toggle(name):
    assert workload_rules(Toggles())[name].decision != ALLOW
    assert workload_rules(ALL_OPEN)[name].decision == ALLOW


@pytest.mark.parametrize(
    "name",
    "socket socketpair setsockopt clone unshare ioctl personality memfd_create".split(),
)
def test_its_arguments_decide(name):
    assert not isinstance(workload_rules(ALL_OPEN)[name].decision, int)


def test_close_range_may_not_give_a_thread_a_descriptor_table_of_its_own():
    """Owners of sockets are found in the first thread's table: there must be only one."""
    assert workload_rules(ALL_OPEN)["close_range"].decision != ALLOW
