"""What those outside are told of a start and of its end: in the log, in the termination log."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from supervisor.errors import Refusal, in_short
from supervisor.events.log import Log
from supervisor.events.unexpected import fault_of
from supervisor.events.vocabulary import (
    SandboxEnded,
    SandboxStarted,
    StartRefused,
    Why,
)
from supervisor.monitor import codes
from supervisor.monitor.lifecycle import SUPERVISOR_STATUS, Finish
from supervisor.startup.codes import INTERNAL_ERROR
from supervisor.startup.report import summary, table
from supervisor.startup.termination import write_termination_log

if TYPE_CHECKING:  # a sidecar refuses, too, and has neither
    from supervisor.startup.plan import Plan
    from supervisor.startup.running import Running

# What a shell says of a command that it cannot execute or find: exit status of POSIX sh.
EXEC_STATUS = {codes.NOT_EXECUTABLE: 126, codes.NOT_FOUND: 127}


def told(work: Callable[[], int], log: Log) -> int:
    """The exit status that ``work`` returns, or that of the refusal or error that ended it.

    Our end is the workload's: whatever was started before an error ends with us.
    """
    try:
        return work()
    except Refusal as refusal:
        return refused(refusal, log)
    except Exception as error:  # noqa: BLE001 - the last resort of a start
        log.emit(fault_of("monitor", error))
        return refused(Refusal(INTERNAL_ERROR, in_short(error)), log)


def tell_start(running: "Running", plan: "Plan", log: Log) -> None:
    """The workload runs: the containment report, as a record or as a table."""
    started = SandboxStarted(
        pid=running.main,
        user=plan.identity.user,
        uid=plan.identity.uid,
        gid=plan.identity.gid,
        report=running.report,
    )
    log.emit(started, for_people=None if log.as_json else table(running.report))
    write_termination_log({"state": "running", "containment": summary(running.report)})


def refused(refusal: Refusal, log: Log) -> int:
    """Say why nothing was started, in the log and the termination log; the exit status."""
    status = EXEC_STATUS.get(refusal.code, SUPERVISOR_STATUS)
    fields: dict[str, object] = {"status": status, **refusal.as_dict()}
    lines = (
        f"sandbox-supervisor: refused: {refusal.code.name}\n"
        f"  cause:  {refusal.cause}\n  remedy: {refusal.remedy}"
    )
    log.emit(StartRefused(status=status, why=Why.refused(refusal)), for_people=lines)
    log.finish()
    write_termination_log(fields)
    return status


def finished(finish: Finish, running: "Running", plan: "Plan", log: Log) -> int:
    """Say how it ended, in the log and the termination log; the exit status."""
    why = None if finish.cause is None else Why.of(finish.cause)
    log.emit(SandboxEnded(pid=running.main, status=finish.status, why=why))
    log.finish()
    fields: dict[str, object] = {"status": finish.status, "user": plan.identity.user}
    if finish.cause is not None:
        fields |= {
            "code": finish.cause.name,
            "cause": finish.cause.meaning,
            "remedy": finish.cause.remedy,
        }
    write_termination_log({**fields, "containment": summary(running.report)})
    return finish.status
