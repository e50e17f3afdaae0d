"""Do what the plan says, in its order; decide nothing. Each step announces itself first."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.events.log import Log
from supervisor.fence.request import FencedNamespace, FenceReport
from supervisor.fence.setup import create_namespace, install_pod_fence
from supervisor.identity.write import apply_entries
from supervisor.kernel import filters, prctl
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.monitor.terminal import Terminal
from supervisor.startup import landlock_ruleset
from supervisor.startup.facts import Facts
from supervisor.startup.landlock_ruleset import FilesystemConfinement
from supervisor.startup.plan import Plan
from supervisor.startup.stages import Stages
from supervisor.startup.steps import (
    AddAccount,
    CloseNetwork,
    ConfineFiles,
    PrepareWorkspace,
    StartWorkload,
)
from supervisor.workspace.execute import execute as prepare_workspace
from supervisor.workspace.report import Report as WorkspaceReport

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
OVERFLOW_ID = 65534  # how the kernel shows an id that a user namespace does not map


@dataclass(slots=True, kw_only=True)
class Running:
    """What the steps made; complete once the last one is done."""

    main: int = 0
    fence: FencedNamespace | None = None
    workspace: WorkspaceReport | None = None
    files: FilesystemConfinement | None = None
    terminal: Terminal | None = None
    notes: list[str] = field(default_factory=list)


def execute(
    plan: Plan,
    *,
    facts: Facts,
    on_fence: Callable[[FencedNamespace], None],
    log: Log,
    stages: Stages,
) -> Running:
    """Do every step; ``on_fence`` takes over what the fence needs from then on.

    Raises Refusal; then nothing of the workload runs.
    """
    running = Running()
    for step in plan.steps:
        for line in step.describe():
            log.emit("start.step", level="debug", step=type(step).__name__, what=line)
        match step:
            case AddAccount():
                running.notes += apply_entries("/", step.entries).notes
                stages.mark("accounts")
            case PrepareWorkspace():
                running.workspace = prepare_workspace(step.steps)
                stages.mark("workspace")
            case CloseNetwork():
                running.fence = close_network(step)
                on_fence(running.fence)
                stages.mark("fence")
            case ConfineFiles():
                running.files = landlock_ruleset.prepare(
                    step.rules,
                    compatibility=step.compatibility,
                    groups=step.groups,
                    as_workload=step.as_workload,
                )
                stages.mark("files")
            case StartWorkload():
                _start(step, running, facts)
                stages.mark("launch")
    return running


def close_network(step: CloseNetwork) -> FencedNamespace:
    """Build the fence in the form that the plan chose. Raises Refusal."""
    if step.pod is None:
        return create_namespace(step.served)
    fenced = install_pod_fence(step.pod)
    report = FenceReport(
        form="pod",
        user_namespace=False,
        ipv6=fenced.report.ipv6,
        rules=fenced.report.rules,
        table_owned=fenced.report.table_owned,
    )
    return FencedNamespace(net=None, user=None, sockets=fenced.sockets, report=report)


def _start(step: StartWorkload, running: Running, facts: Facts) -> None:
    # The child inherits it and exec resets it: until then nobody may look into either of us.
    prctl.set_undumpable()
    if step.terminal:
        running.terminal = Terminal()
        stdio = (running.terminal.slave,) * 3
    else:
        stdio = (0, 1, 2)
    if facts.uid == 0:
        running.notes += hand_over(stdio, step.uid)
    launched = Launch(
        argv=step.argv,
        environment=step.environment,
        cwd=step.cwd,
        confinement=confinement(step, running, facts),
        monitor=os.getpid(),
        stdio=stdio,
        terminal=step.terminal,
    )
    running.main = launch(launched)
    if running.terminal is not None:
        running.terminal.start()


def confinement(step: StartWorkload, running: Running, facts: Facts) -> Confinement:
    """The confinement of a launch: the plan's decisions, and the descriptors made since."""
    fence = running.fence
    joined: list[tuple[int, int]] = []
    groups = step.groups
    if fence is not None and fence.net is not None and fence.report.form == "namespace":
        if fence.user is not None:
            joined.append((fence.user, CLONE_NEWUSER))
            if facts.uid != 0:
                # Only our own ids are mapped there; the kernel shows any other as the overflow id.
                groups = tuple(sorted(g if g == step.gid else OVERFLOW_ID for g in groups))
        joined.append((fence.net, CLONE_NEWNET))
    return Confinement(
        uid=step.uid,
        gid=step.gid,
        groups=groups,
        drop_privileges=facts.uid == 0 or bool(joined),
        namespaces=tuple(joined),
        limits=step.limits,
        umask=step.umask,
        landlock=None if running.files is None else running.files.ruleset,
        seccomp=filters.workload(step.toggles),
    )


def hand_over(stdio: tuple[int, int, int], uid: int) -> list[str]:
    """Give pipes and terminals of the stdio to ``uid``, so that /dev/stdout can be reopened.

    Returns notes for the report where the kernel refuses: the descriptors themselves still work.
    """
    notes = []
    for descriptor in dict.fromkeys(stdio):
        facts = os.fstat(descriptor)
        is_terminal = stat.S_ISCHR(facts.st_mode) and os.isatty(descriptor)
        if facts.st_uid == uid or not (is_terminal or stat.S_ISFIFO(facts.st_mode)):
            continue
        try:
            os.fchown(descriptor, uid, -1)
        except OSError as error:
            notes.append(
                f"descriptor {descriptor} stays root's ({error.strerror}): the workload "
                "can use it but not open it again by name"
            )
    return notes
