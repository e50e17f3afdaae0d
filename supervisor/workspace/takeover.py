"""Give a whole tree to the identity: alone when it is small, by two processes when it is not.

System calls are nearly all of the cost, so a second core halves it. Both processes walk all
directories; a directory is *handled* by the one that its path's hash falls to. No messages, no
locks, nothing to balance: whoever handles a directory hands over its entries and then itself,
which keeps the order that ``entries`` relies on.
"""

import os
from typing import Any

from supervisor.errors import Refusal
from supervisor.workspace import codes
from supervisor.workspace.children import Child
from supervisor.workspace.directories import open_without_links
from supervisor.workspace.entries import Entries
from supervisor.workspace.ownership import belongs_to, system_refusal
from supervisor.workspace.plan import TakeOver
from supervisor.workspace.report import Named, Skip, Tally, shown
from supervisor.workspace.walk import Walk
from supervisor.workspace.watch import Watch

# Below this a fork (one to three milliseconds until the helper works) costs more than it saves:
# about three microseconds per entry. Most workspaces are nearly empty at the start.
ENTRIES_BEFORE_HELPER = 500

# The helper sees the same deadline and answers by itself; this is for its answer to get here.
HELPER_ANSWER_S = 2.0


def take_over(step: TakeOver, tally: Tally, watch: Watch) -> None:
    """Do one TakeOver step. Raises Refusal; what was done until then is in ``tally``."""
    try:
        root = open_without_links(step.path)
        if root is None:
            return
        if os.fstatvfs(root).f_flag & os.ST_RDONLY:
            status = os.fstat(root)
            os.close(root)
            _pass_over_read_only(status, step, tally)
            return
        crew = _Crew(step, tally, watch)
        with Walk(crew.visit, tally) as walk:
            walk.enter(root, step.path)
            if walk.advance(until=crew.wants_helper):
                crew.finish_together(walk) if _processors() > 1 else walk.finish()
    except OSError as error:
        raise system_refusal(error, step.path) from error


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _pass_over_read_only(status: os.stat_result, step: TakeOver, tally: Tally) -> None:
    """Name a read-only mount as skipped; refuse it if its top is not the identity's."""
    if not belongs_to(status, step.owner):
        cause = f"{shown(step.path)} is read-only and belongs to {status.st_uid}:{status.st_gid}"
        raise Refusal(codes.READ_ONLY, cause)
    tally.skip(Skip.READ_ONLY, step.path)


class _Crew:
    """The one or two processes that visit; in each of them, which share is its own."""

    def __init__(self, step: TakeOver, tally: Tally, watch: Watch) -> None:
        self.step = step
        self.tally = tally
        self.watch = watch
        self.share = 0
        self.shares = 1

    def wants_helper(self) -> bool:
        """Tell whether there is so much that a second process pays."""
        return self.tally.entries >= ENTRIES_BEFORE_HELPER

    def visit(self, fd: int, path: str) -> list[str]:
        """Handle a directory if it is ours; return its directories in any case."""
        self.watch.look(path, self.tally.entries)
        # By path, not by inode number: overlayfs may number a directory anew when it copies it
        # up, and then both would leave it to the other. A fork keeps the hash's random key.
        if hash(path) % self.shares != self.share:
            with os.scandir(fd) as listing:
                return [entry.name for entry in listing if entry.is_dir(follow_symlinks=False)]
        return Entries(fd, path, self.step, self.tally).hand_over(self.watch)

    def finish_together(self, walk: Walk) -> None:
        """Fork at this point of the walk; each process visits the rest and handles its share."""
        self.shares = 2
        with Child(lambda: self._help(walk), f"taking over {shown(self.step.path)}") as helper:
            walk.finish()
            answer = helper.answer(self.watch.left_s + HELPER_ANSWER_S)
        self.tally.add(_from_json(answer))

    def _help(self, walk: Walk) -> dict[str, Any]:
        self.share = 1
        self.watch.silence()
        self.tally = walk.tally = Tally()
        walk.finish()
        return _to_json(self.tally)


def _to_json(tally: Tally) -> dict[str, Any]:
    return {
        "entries": tally.entries,
        "changed": tally.changed,
        "cleared": tally.cleared.as_dict(),
        "skipped": {reason.value: named.as_dict() for reason, named in tally.skipped.items()},
    }


def _from_json(answer: dict[str, Any]) -> Tally:
    return Tally(
        entries=answer["entries"],
        changed=answer["changed"],
        cleared=_named(answer["cleared"]),
        skipped={Skip(reason): _named(named) for reason, named in answer["skipped"].items()},
    )


def _named(fields: dict[str, Any]) -> Named:
    return Named(count=fields["count"], paths=tuple(fields["paths"]))
