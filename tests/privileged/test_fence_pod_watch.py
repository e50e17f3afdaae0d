"""The pod form after it stands: who sees what, who can change it, and how it starts again."""

import os
import select
import socket
import subprocess

import pytest
from support.fences import REFUSALS, keep_capabilities, send_to
from support.pods import OUTSIDE_V4, REQUEST, WORKLOAD, as_uid, held, in_world, send_udp
from support.processes import status_of
from support.waiting import until

from supervisor.fence.names import TABLE
from supervisor.fence.setup import install_pod_fence
from supervisor.fence.watch import changed
from supervisor.kernel import nflog


def test_a_change_is_seen_after_the_capability_is_gone():
    def work(world, fence):
        # An orphaned table can be changed by whoever has NET_ADMIN; ours, owned, could not.
        os.close(fence.sockets["nftables"])
        changer = os.fork()
        if changer == 0:
            wait_for_zero_capabilities(os.getppid())
            os.execvp("nft", ["nft", "insert", "rule", "inet", TABLE, "output", "accept"])
        with socket.socket(fileno=fence.sockets["changes"]) as changes:
            keep_capabilities(set())
            before = changed(changes)
            assert os.waitpid(changer, 0)[1] == 0
            assert select.select([changes], [], [], 5)[0]
            return before, changed(changes), changed(changes)

    assert in_world(work) == (False, True, False)


def test_changes_of_other_tables_do_not_count():
    def work(world, fence):
        subprocess.run(["nft", "add", "table", "inet", "mesh"], check=True)
        with socket.socket(fileno=fence.sockets["changes"]) as changes:
            assert select.select([changes], [], [], 5)[0]
            return changed(changes)

    assert not in_world(work)


def test_notifications_that_were_lost_count_as_a_change():
    def work(world, fence):
        with socket.socket(fileno=fence.sockets["changes"]) as changes:
            changes.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            batch = "".join(f"add table inet mesh{number}\n" for number in range(500))
            subprocess.run(["nft", "-f", "-"], input=batch.encode(), check=True)
            return changed(changes)

    assert in_world(work)


def wait_for_zero_capabilities(pid):
    until(lambda: "CapEff:\t0000000000000000\n" in status_of(pid), lambda: status_of(pid))


def test_nflog_works_after_the_capability_is_gone():
    def work(world, fence):
        keep_capabilities({6, 7})
        with pytest.raises(PermissionError):
            as_uid(WORKLOAD, lambda: send_udp(OUTSIDE_V4, 4433))
        with held(fence, "nflog") as log:
            (blocked,) = nflog.receive(log)
        return blocked.uid, blocked.protocol, str(blocked.destination), blocked.port

    assert in_world(work) == (WORKLOAD, 17, OUTSIDE_V4, 4433)


def test_another_administrator_cannot_remove_the_owned_fence():
    def work(world, fence):
        codes = [
            subprocess.run(["nft", *words], capture_output=True).returncode
            for words in (["delete", "table", "inet", TABLE], ["flush", "ruleset"])
        ]
        return codes[0], send_to(OUTSIDE_V4, kind=socket.SOCK_DGRAM)

    deleted, refusal = in_world(work)

    assert deleted != 0
    assert refusal in REFUSALS


def test_an_earlier_fence_is_replaced_and_owned_again():
    def work(world, fence):
        for descriptor in fence.sockets.values():
            os.close(descriptor)
        again = install_pod_fence(REQUEST._replace(egress_uid=64000))
        return again.report.table_owned, again.report.rules == fence.report.rules

    assert in_world(work) == (True, True)
