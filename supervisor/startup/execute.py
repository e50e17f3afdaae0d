"""Do what the plan says, in its order; decide nothing. Each step announces itself first."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.events.log import Log
from supervisor.fence.request import CAPTURE_PORT, FencedNamespace, FenceReport
from supervisor.fence.setup import create_namespace, install_pod_fence
from supervisor.identity.write import apply_entries
from supervisor.kernel import filters, prctl
from supervisor.kernel.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.monitor.terminal import Terminal
from supervisor.startup import landlock_ruleset
from supervisor.startup.controls import (
    Degraded,
    check_minimum,
    judge,
    lacking_after_preparation,
)
from supervisor.startup.facts import Facts
from supervisor.startup.landlock_ruleset import FilesystemConfinement
from supervisor.startup.plan import Plan
from supervisor.startup.proof.model import Ground
from supervisor.startup.proof.prove import Proof, prove, require_no_surprise
from supervisor.startup.seclusion import PRIVATE_SHM, Seclusion, seclude
from supervisor.startup.stages import Stages
from supervisor.startup.steps import (
    AddAccount,
    CheckControls,
    CloseNetwork,
    ConfineFiles,
    PrepareWorkspace,
    Prove,
    Seclude,
    StartWorkload,
    Step,
)
from supervisor.workspace.execute import execute as prepare_workspace
from supervisor.workspace.report import Report as WorkspaceReport

OVERFLOW_ID = 65534  # how the kernel shows an id that a user namespace does not map


@dataclass(slots=True, kw_only=True)
class Running:
    """What the steps made; complete once the last one is done."""

    main: int = 0
    fence: FencedNamespace | None = None
    workspace: WorkspaceReport | None = None
    seclusion: Seclusion | None = None
    files: FilesystemConfinement | None = None
    degraded: tuple[Degraded, ...] = ()
    proof: Proof | None = None
    confinement: Confinement | None = None  # of every launch
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
        _announce(step, log)
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
            case Seclude():
                running.seclusion = seclude(fence_of(running).user)
                stages.mark("seclusion")
            case ConfineFiles():
                running.files = landlock_ruleset.prepare(
                    step.rules,
                    compatibility=step.compatibility,
                    groups=step.groups,
                    as_workload=step.as_workload,
                    root=None if running.seclusion is None else running.seclusion.root,
                )
                stages.mark("files")
            case CheckControls():
                running.degraded = check_controls(step, running, facts)
            case Prove():
                # Exec resets it in the child: until then nobody may look into either of us.
                prctl.set_undumpable()
                running.confinement = confinement(step.start, running, facts)
                running.proof = prove_start(step.start, running, facts)
                stages.mark("proof")
            case StartWorkload():
                _start(step, running, facts)
                stages.mark("launch")
    return running


def _announce(step: Step, log: Log) -> None:
    for line in step.describe():
        log.emit("start.step", level="debug", step=type(step).__name__, what=line)


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
        confinement=running.confinement or confinement(step, running, facts),
        monitor=os.getpid(),
        stdio=stdio,
        terminal=step.terminal,
    )
    running.main = launch(launched)
    if running.terminal is not None:
        running.terminal.start()


def fence_of(running: Running) -> FencedNamespace:
    """The fence, which every step after CloseNetwork may rely on."""
    if running.fence is None:
        raise ValueError("a plan without a fence cannot be executed")
    return running.fence


def check_controls(step: CheckControls, running: Running, facts: Facts) -> tuple[Degraded, ...]:
    """What the start goes on without. Raises Refusal where the policy requires it."""
    if running.files is None or running.seclusion is None:
        raise ValueError("controls are checked after everything is prepared")
    fence = fence_of(running)
    check_minimum(step.require, fence, running.files)
    lacks = lacking_after_preparation(facts, fence, running.seclusion, running.files)
    return judge(lacks, require=step.require, accept=step.accept)


def prove_start(step: StartWorkload, running: Running, facts: Facts) -> Proof:
    """Prove the confinement that every launch gets. Raises Refusal on any surprise."""
    if running.confinement is None:
        raise ValueError("there is nothing to prove yet")
    ground = ground_of(step, running, facts)
    proof = prove(ground, running.confinement, fence_of(running).sockets.get("nflog"))
    require_no_surprise(proof)
    return proof


def ground_of(step: StartWorkload, running: Running, facts: Facts) -> Ground:
    """What the probes may rely on here."""
    fence, seclusion, rules = fence_of(running), running.seclusion, running.files
    if seclusion is None or rules is None:
        raise ValueError("everything is prepared before it is proved")
    bound = [outcome for outcome in rules.paths if not outcome.problem]
    lacking = dict(seclusion.lacking)
    return Ground(
        uid=step.uid,
        workdir=step.cwd,
        monitor=os.getpid() if seclusion.pid is None else 1,
        own_process_ids=seclusion.pid is not None,
        own_shm=PRIVATE_SHM not in lacking,
        foreign_shm=0 if PRIVATE_SHM in lacking else os.stat("/dev/shm").st_dev,  # noqa: S108
        ipv6=fence.report.ipv6,
        ruled="nflog" in fence.sockets,
        capture=CAPTURE_PORT if "capture4" in fence.sockets else None,
        nested_sandbox=step.toggles.nested_sandbox,
        debugger=step.toggles.debugger,
        guarded=facts.uid != 0 and seclusion.pid is None,
        landlock_abi=0 if rules.ruleset is None else rules.abi,
        covered=tuple(outcome.resolved for outcome in bound),
        writable=tuple(outcome.resolved for outcome in bound if outcome.rule.writable),
        outside="",
    )


def confinement(step: StartWorkload, running: Running, facts: Facts) -> Confinement:
    """The confinement of a launch: the plan's decisions, and the descriptors made since."""
    fence, seclusion = fence_of(running), running.seclusion
    joined: list[tuple[int, int]] = []
    groups = step.groups
    if fence.net is not None and fence.report.form == "namespace":
        if fence.user is not None:
            joined.append((fence.user, CLONE_NEWUSER))
            if facts.uid != 0:
                # Only our own ids are mapped there; the kernel shows any other as the overflow id.
                groups = tuple(sorted(g if g == step.gid else OVERFLOW_ID for g in groups))
        joined.append((fence.net, CLONE_NEWNET))
    if seclusion is not None and seclusion.mount is not None:
        joined.append((seclusion.mount, CLONE_NEWNS))
    own_process_ids = seclusion is not None and seclusion.pid is not None
    if seclusion is not None and seclusion.pid is not None:
        joined.append((seclusion.pid, CLONE_NEWPID))
    # Where it could otherwise signal us, or starve us: same uid, same process numbers.
    guarded = facts.uid != 0 and not own_process_ids
    ourselves = tuple({os.getpid(), os.getpgrp()} - {0}) if guarded else ()
    return Confinement(
        uid=step.uid,
        gid=step.gid,
        groups=groups,
        drop_privileges=facts.uid == 0 or bool(joined),
        namespaces=tuple(joined),
        limits=step.limits,
        umask=step.umask,
        landlock=None if running.files is None else running.files.ruleset,
        seccomp=filters.workload(step.toggles, guarded=ourselves),
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
