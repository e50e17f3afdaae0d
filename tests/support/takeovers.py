"""Recursive ownership of /srv/work, a directory on a file system of the test's own."""

import os

import pytest

from supervisor.workspace.execute import WorkspaceRefused, execute
from supervisor.workspace.plan import Owner, TakeOver
from support.forked import CLONE_NEWNS, in_child
from support.trees import scratch

OWNER = Owner(uid=4242, gid=4243)
MINE = (4242, 4243)
ROOT = (0, 0)
EARLIER = (4000, 4000)


def take(path="/srv/work", *, may_chown=True, deadline_s=60.0):
    step = TakeOver(path=str(path), owner=OWNER, may_chown=may_chown, reason="test")
    return execute((step,), deadline_s=deadline_s)


def refusal_of(**changes):
    with pytest.raises(WorkspaceRefused) as caught:
        take(**changes)
    return caught.value


def in_work(body, data="mode=0755"):
    """Run ``body`` with /srv/work, an empty directory of root's on a file system of its own."""

    def run():
        work = scratch(data) / "work"
        work.mkdir(mode=0o755)
        return body(work)

    return in_child(run, unshare=CLONE_NEWNS)


def fill(root, *, directories=4, files=4, depth=2):
    """Make a small regular tree; return how many entries it has, ``root`` included."""
    count = 1 + files
    for number in range(files):
        (root / f"file{number}").touch()
    for number in range(directories if depth else 0):
        below = root / f"dir{number}"
        below.mkdir()
        count += fill(below, directories=directories, files=files, depth=depth - 1)
    return count


def everything_of(root, uid, gid):
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)
        os.chown(directory, uid, gid)
