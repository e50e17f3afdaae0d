"""The pod form, installed by one process and taken over by another: as it was, or not at all."""

import os

import pytest
from support.forked import CLONE_NEWNET, in_child
from support.pods import REQUEST, World, run

from supervisor.errors import Refusal
from supervisor.fence.names import TABLE
from supervisor.fence.setup import adopt_pod_fence, install_pod_fence


def adopted_after(change):
    """What adopting says where ``change`` was made to an installed fence that nobody holds."""

    def work():
        World()
        installed = install_pod_fence(REQUEST)
        for descriptor in installed.sockets.values():
            os.close(descriptor)
        change()
        try:
            return adopt_pod_fence(REQUEST).report.rules == installed.report.rules
        except Refusal as refusal:
            return refusal.code.name

    return in_child(work, unshare=CLONE_NEWNET)


def test_an_untouched_fence_is_taken_over():
    assert adopted_after(lambda: None) is True


@pytest.mark.parametrize(
    "change",
    [
        f"nft insert rule inet {TABLE} output accept",
        f"nft flush chain inet {TABLE} output",
        f"nft add chain inet {TABLE} more",
        f"nft chain inet {TABLE} output {{ policy accept; }}",
    ],
)
def test_a_fence_that_somebody_changed_meanwhile_is_not_taken_over(change):
    assert adopted_after(lambda: run(change)) == "fence.read-back-differs"


def test_where_there_is_no_fence_there_is_nothing_to_take_over():
    assert adopted_after(lambda: run(f"nft delete table inet {TABLE}")) == "fence.not-installed"
