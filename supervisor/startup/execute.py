"""Do what the plan says, in its order; decide nothing. Each step announces itself first."""

import os
import stat
from collections.abc import Callable
from typing import assert_never

from supervisor.events.log import Log
from supervisor.events.vocabulary import StartStep
from supervisor.fence.request import FencedNamespace, FenceReport
from supervisor.fence.surroundings import has_ipv6
from supervisor.kernel import filters, prctl
from supervisor.kernel.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from supervisor.monitor.launch import launch
from supervisor.monitor.spec import Confinement, Launch
from supervisor.monitor.terminal import Terminal
from supervisor.startup import landlock_ruleset, trust_store
from supervisor.startup.controls import Degraded, judge, lacking_after_preparation
from supervisor.startup.facts import Facts
from supervisor.startup.plan import Plan
from supervisor.startup.proof.ground import ground_of
from supervisor.startup.proof.prove import prove, require_no_surprise
from supervisor.startup.running import (
    Running,
    confinement_of,
    fence_of,
    nflog_of,
    trust_of,
)
from supervisor.startup.seclusion import TRUST_STORE, seclude
from supervisor.startup.stages import Stages
from supervisor.startup.steps import (
    AddAccount,
    CheckControls,
    CloseNetwork,
    ConfineFiles,
    PrepareWorkspace,
    Prove,
    RelyOnSidecar,
    Seclude,
    StartWorkload,
    Step,
)
from supervisor.workspace.execute import execute as prepare_workspace

STAGES: dict[type, str] = {
    AddAccount: "accounts",
    PrepareWorkspace: "workspace",
    CloseNetwork: "fence",
    RelyOnSidecar: "fence",
    Seclude: "seclusion",
    ConfineFiles: "files",
    CheckControls: "controls",
    Prove: "proof",
    StartWorkload: "launch",
}
OVERFLOW_ID = 65534  # how the kernel shows an id that a user namespace does not map


def execute(
    plan: Plan,
    *,
    facts: Facts,
    on_proved: Callable[[FencedNamespace], None],
    log: Log,
    stages: Stages,
) -> Running:
    """Do every step; ``on_proved`` starts what serves the fence, before the workload starts.

    Not earlier: what the proof's probes leave behind is nobody's attempt to get out.

    Raises Refusal; then nothing of the workload runs.
    """
    running = Running()
    for step in plan.steps:
        for line in step.describe():
            log.emit(StartStep(step=type(step).__name__, what=line))
        _do(step, running, facts)
        if isinstance(step, Prove):
            on_proved(fence_of(running))
        stages.mark(STAGES[type(step)])
    return running


def _do(step: Step, running: Running, facts: Facts) -> None:
    match step:
        case AddAccount():
            running.notes += add_account(step)
        case PrepareWorkspace():
            running.workspace = prepare_workspace(step.steps)
        case CloseNetwork():
            running.fence = close_network(step)
        case RelyOnSidecar():
            report = FenceReport(
                form="pod", user_namespace=False, ipv6=has_ipv6(), rules=0, table_owned=False
            )
            running.fence = FencedNamespace(net=None, user=None, sockets={}, report=report)
        case Seclude():
            _seclude(step, running)
        case ConfineFiles():
            running.files = landlock_ruleset.prepare(
                step.rules,
                compatibility=step.compatibility,
                groups=step.groups,
                as_workload=step.as_workload,
                root=None if running.seclusion is None else running.seclusion.root,
            )
        case CheckControls():
            running.degraded = check_controls(step, running, facts)
        case Prove():
            # Exec resets it in the child: until then nobody may look into either of us.
            prctl.set_undumpable()
            running.confinement = confinement(step.start, running, facts)
            running.ground = ground_of(step.start, running, facts)
            running.proof = prove(running.ground, running.confinement, nflog_of(running))
            require_no_surprise(running.proof)
        case StartWorkload():
            _start(step, running)
        case _:
            assert_never(step)


def _seclude(step: Seclude, running: Running) -> None:
    bundle = trust_store.compose(step.authorities, writable=step.writable, groups=step.groups)
    running.seclusion = seclude(fence_of(running).user, bundle.content)
    not_mounted = dict(running.seclusion.lacking).get(TRUST_STORE)
    running.trust = trust_store.place(bundle, not_mounted=not_mounted, writable=step.writable)


def add_account(step: AddAccount) -> tuple[str, ...]:
    """Write the identity into the account files; notes for the report."""
    # Late: behind a sidecar there is neither this step nor a fence to build.
    from supervisor.identity.write import apply_entries

    return apply_entries("/", step.entries).notes


def close_network(step: CloseNetwork) -> FencedNamespace:
    """Build the fence in the form that the plan chose. Raises Refusal."""
    from supervisor.fence.setup import create_namespace, install_pod_fence

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


def _start(step: StartWorkload, running: Running) -> None:
    if step.terminal:
        running.terminal = Terminal()
        stdio = (running.terminal.slave,) * 3
    else:
        stdio = (0, 1, 2)
    if os.geteuid() == 0:
        running.notes += hand_over(stdio, step.uid)
    launched = Launch(
        argv=step.argv,
        environment=trust_of(running).variables | step.environment,
        cwd=step.cwd,
        confinement=confinement_of(running),
        monitor=os.getpid(),
        stdio=stdio,
        terminal=step.terminal,
    )
    running.main = launch(launched)
    if running.terminal is not None:
        running.terminal.start()


def check_controls(step: CheckControls, running: Running, facts: Facts) -> tuple[Degraded, ...]:
    """What the start goes on without. Raises Refusal where the policy requires it."""
    if running.files is None or running.seclusion is None:
        raise ValueError("controls are checked after everything is prepared")
    fence = fence_of(running)
    lacks = lacking_after_preparation(
        facts, fence, running.seclusion, running.files, trust_of(running)
    )
    return judge(lacks, require=step.require, accept=step.accept)


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
