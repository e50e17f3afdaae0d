"""``run``: from argv to the workload's exit status."""

import resource
import time

from supervisor.events.log import Log
from supervisor.identity.inputs import HELPER_IDS
from supervisor.kernel import capabilities, prctl
from supervisor.monitor.lifecycle import Lifecycle
from supervisor.monitor.loop import Loop, open_signals
from supervisor.settings import RunSettings
from supervisor.startup.answering import answer_to
from supervisor.startup.containment import containment
from supervisor.startup.execute import execute
from supervisor.startup.init_keeper import InitKeeper
from supervisor.startup.inquiry import Inquiry
from supervisor.startup.network import NetworkKeeping
from supervisor.startup.own_filter import confine_monitor
from supervisor.startup.plan import Plan
from supervisor.startup.prepare import prepare
from supervisor.startup.report import weaker
from supervisor.startup.running import Running
from supervisor.startup.stages import Stages
from supervisor.startup.telling import finished, tell_start, told

# What the monitor needs while the workload runs: to end processes of other uids and to look into
# them, to start egress again under its own uid, and to join namespaces for later launches.
KEPT_CAPABILITIES = ("KILL", "SETUID", "SETGID", "SETPCAP", "SYS_PTRACE", "SYS_ADMIN", "SYS_CHROOT")


def run(settings: RunSettings) -> int:
    """Start the workload, watch it to its end, return the container's exit status."""
    log = Log(format=settings.log_format, level=settings.log_level)
    return told(lambda: _run(settings, log), log)


def _run(settings: RunSettings, log: Log) -> int:
    signals = open_signals()  # first: from here on no signal is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl.set_child_subreaper()
    lifecycle = Lifecycle(grace_s=settings.grace_s, timeout_s=settings.timeout_s)
    loop = Loop(signals=signals, lifecycle=lifecycle, log=log)
    plan, running = _start(settings, loop, log)
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
    running.notes += [*upstream.notes(), *policy.notes]
    running.report = containment(plan, running, facts, policy, stages).as_dict()
    keeping.degraded = weaker(running.report)
    tell_start(running, plan, log)
    if running.seclusion is not None and running.seclusion.init is not None:
        loop.keep(InitKeeper(running.seclusion.init))
    inquiry.serve(lambda word: answer_to(word, running, log, keeping.alone_with_the_log))
    loop.keep(log)
    return plan, running
