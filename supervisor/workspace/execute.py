"""Do the planned steps in their order; decide nothing."""

from typing import assert_never

from supervisor.errors import Refusal
from supervisor.workspace.directories import ensure
from supervisor.workspace.plan import (
    DEFAULT_DEADLINE_S,
    EnsureDirectory,
    Step,
    TakeOver,
    ValidateAsIdentity,
)
from supervisor.workspace.report import Report, Tally
from supervisor.workspace.takeover import take_over
from supervisor.workspace.validate import validate
from supervisor.workspace.watch import Watch


class WorkspaceRefused(Refusal):
    """A step was refused; ``report`` says what was done until then (and if time ran out)."""

    def __init__(self, refusal: Refusal, report: Report) -> None:
        super().__init__(refusal.code, refusal.cause, refusal.remedy)
        self.report = report


def execute(steps: tuple[Step, ...], *, deadline_s: float = DEFAULT_DEADLINE_S) -> Report:
    """Prepare the workspace and return what was done.

    Call it where there is one thread, before anything untrusted runs: it may fork. ``deadline_s``
    counts for all steps together. Raises WorkspaceRefused, always with the report so far.
    """
    tally = Tally()
    watch = Watch(deadline_s)
    try:
        for step in steps:
            _do(step, tally, watch)
    except Refusal as refusal:
        raise WorkspaceRefused(refusal, tally.report(watch.started, deadline_s)) from refusal
    return tally.report(watch.started, deadline_s)


def _do(step: Step, tally: Tally, watch: Watch) -> None:
    match step:
        case EnsureDirectory():
            watch.look(step.path, tally.entries)
            ensure(step, tally)
        case TakeOver():
            take_over(step, tally, watch)
        case ValidateAsIdentity():
            validate(step, watch)
        case unreachable:
            assert_never(unreachable)
