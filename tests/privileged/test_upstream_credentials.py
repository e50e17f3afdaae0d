"""Who else may read the proxy's credentials: nobody beside a workload, a group in a sidecar."""

import os
import subprocess

import pytest
from support.forked import CLONE_NEWNS, in_child

from supervisor.errors import Refusal
from supervisor.settings import UpstreamSettings
from supervisor.startup.upstream import obtain_upstream

FS_GROUP = 4343
BASIC = b"Basic am86aHVudGVyMg=="


def obtained(mode, *, beside_workload):
    """The authorization, or the code of the refusal, of a file as a pod's Secret is mounted."""

    def work():
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "x", "/mnt"], check=True)
        with open("/mnt/login", "w") as file:
            file.write("jo:hunter2\n")
        os.chown("/mnt/login", 0, FS_GROUP)
        os.chmod("/mnt/login", mode)
        settings = UpstreamSettings(proxy="http://192.0.2.1:3128", credentials="/mnt/login")
        try:
            return obtain_upstream(settings, beside_workload=beside_workload).proxy.authorization
        except Refusal as refusal:
            return refusal.code.name

    return in_child(work, unshare=CLONE_NEWNS)


def test_a_file_of_roots_alone_is_read_everywhere():
    assert obtained(0o400, beside_workload=True) == BASIC
    assert obtained(0o400, beside_workload=False) == BASIC


@pytest.mark.parametrize("mode", [0o440, 0o444])
def test_what_a_pods_fsgroup_opens_is_read_by_the_sidecar_and_refused_beside_a_workload(mode):
    assert obtained(mode, beside_workload=False) == BASIC
    assert obtained(mode, beside_workload=True) == "upstream.credentials-untrusted"


def test_what_others_may_write_is_refused_by_the_sidecar_too():
    assert obtained(0o460, beside_workload=False) == "upstream.credentials-untrusted"
