"""``run``: from argv to the workload's exit status."""

import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.vocabulary import (
    Finding,
    SandboxEnded,
    SandboxStarted,
    Severity,
    StartRefused,
    Why,
)
from supervisor.identity.account_files import read_accounts
from supervisor.identity.inputs import HELPER_IDS
from supervisor.identity.mapped import check_identity_mapped
from supervisor.kernel import capabilities, filters, prctl, seccomp
from supervisor.monitor import codes as monitor_codes
from supervisor.monitor.lifecycle import SUPERVISOR_STATUS, Finish, Lifecycle
from supervisor.monitor.loop import Loop, open_signals
from supervisor.settings import RunSettings, runtime_tree
from supervisor.startup.containment import containment
from supervisor.startup.execute import execute
from supervisor.startup.facts import Facts, gather
from supervisor.startup.init_keeper import InitKeeper
from supervisor.startup.inquiry import PROVE, Inquiry
from supervisor.startup.network import NetworkKeeping
from supervisor.startup.plan import Plan, build
from supervisor.startup.policy import LoadedPolicy, obtain_policy
from supervisor.startup.proof.prove import prove, require_no_surprise
from supervisor.startup.report import summary, table
from supervisor.startup.running import Running, confinement_of, nflog_of
from supervisor.startup.stages import Stages
from supervisor.startup.termination import write_termination_log
from supervisor.startup.trust_store import read_own
from supervisor.startup.upstream import Upstream, obtain_upstream

# What the monitor needs while the workload runs: to end processes of other uids and to look into
# them, to start egress again under its own uid, and to join namespaces for later launches.
KEPT_CAPABILITIES = ("KILL", "SETUID", "SETGID", "SETPCAP", "SYS_PTRACE", "SYS_ADMIN", "SYS_CHROOT")
# What a shell says of a command that it cannot execute or find: exit status of POSIX sh.
EXEC_STATUS = {monitor_codes.NOT_EXECUTABLE: 126, monitor_codes.NOT_FOUND: 127}


def run(settings: RunSettings) -> int:
    """Start the workload, watch it to its end, return the container's exit status."""
    log = Log(format=settings.log_format, level=settings.log_level)
    signals = open_signals()  # first: from here on no signal is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl.set_child_subreaper()
    lifecycle = Lifecycle(grace_s=settings.grace_s, timeout_s=settings.timeout_s)
    loop = Loop(signals=signals, lifecycle=lifecycle)
    try:
        plan, running = _start(settings, loop, log)
    except Refusal as refusal:
        return refused(refusal, log)
    prctl.keep_capabilities(capabilities.numbers(KEPT_CAPABILITIES))
    confine_monitor(plan.policy)
    if running.terminal is not None:
        loop.attach(running.terminal)
        log.raise_level("error")  # the terminal is raw and the workload's
    lifecycle.start(now=time.monotonic())
    finish = loop.run(running.main)
    if running.terminal is not None:
        running.terminal.close()
    return finished(finish, running, plan, log)


class Prepared(NamedTuple):
    """Everything that is decided before the first change."""

    plan: Plan
    facts: Facts
    policy: LoadedPolicy
    upstream: Upstream


def prepare(settings: RunSettings, stages: Stages, given: LoadedPolicy | None = None) -> Prepared:
    """Gather, load (where no policy is given), decide; changes nothing. Raises Refusal."""
    upstream = obtain_upstream(settings.upstream)
    facts = gather()
    stages.mark("facts")
    loaded = obtain_policy(settings) if given is None else given
    stages.mark("policy")
    plan = build(
        settings=settings,
        facts=facts,
        policy=loaded.static,
        serves_network=loaded.allows_network,
        accounts=read_accounts("/"),
        supervisor_tree=runtime_tree(),
        authorities=read_own(settings.extra_ca),
    )
    check_identity_mapped(plan.identity)
    stages.mark("plan")
    return Prepared(plan, facts, loaded, upstream)


def _start(settings: RunSettings, loop: Loop, log: Log) -> tuple[Plan, Running]:
    stages = Stages()
    plan, facts, policy, upstream = prepare(settings, stages)
    keeping = NetworkKeeping(
        settings=settings,
        workload=(plan.identity.uid, plan.identity.gid),
        policy=policy,
        started=time.time(),
        upstream=upstream,
        egress_uid=HELPER_IDS["egress"] if facts.uid == 0 else None,
        loop=loop,
        log=log,
    )
    inquiry = Inquiry(loop)
    running = execute(plan, facts=facts, on_proved=keeping.start, log=log, stages=stages)
    keeping.degraded = tuple(item.control for item in running.degraded)
    running.notes += [*upstream.notes(), *policy.notes]
    running.report = containment(plan, running, facts, policy, stages).as_dict()
    tell_start(running, plan, log)
    if running.seclusion is not None and running.seclusion.init is not None:
        loop.keep(InitKeeper(running.seclusion.init))
    inquiry.serve(lambda word: answer_to(word, running, log, keeping.alone_with_the_log))
    loop.keep(log)
    return plan, running


def tell_start(running: Running, plan: Plan, log: Log) -> None:
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


def answer_to(
    word: bytes,
    running: Running,
    log: Log,
    alone_with_the_log: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, object]:
    """What somebody who enters the container is told: the report, with a new proof if asked for."""
    if word != PROVE or running.ground is None:
        return running.report
    proof = None
    try:
        with alone_with_the_log():
            proof = prove(running.ground, confinement_of(running), nflog_of(running))
        require_no_surprise(proof)
    except Refusal as refusal:
        why = Why.refused(refusal)
        title = "the proof, made again, does not hold"
        log.emit(Finding(title=title, severity=Severity.CRITICAL, why=why))
        if proof is None:
            return {"error": refusal.as_dict()}
    return running.report | {"proof": proof.as_dict()}


def confine_monitor(policy: Policy) -> None:
    """Our own filter, last: it is inherited by every later launch and covers what those need."""
    syscalls = policy.supervisor.syscalls
    toggles = filters.Toggles(nested_sandbox=syscalls.nested_sandbox, debugger=syscalls.debugger)
    prctl.set_no_new_privs()
    seccomp.install(filters.monitor(toggles))


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


def finished(finish: Finish, running: Running, plan: Plan, log: Log) -> int:
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
