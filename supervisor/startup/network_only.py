"""``run --mode network-only``: the agent's half of a sidecar pod, from argv to the exit status.

It starts as the workload's identity with nothing to give up, and verifies that. The network is the
pod's, closed by net-init and served by the sidecar, from which the static policy comes; the proof
shows that it is closed. The workload has our uid, so we are non-dumpable from the first line, its
filter keeps signals from us, and what the sidecar must keep to itself never comes here.
"""

import resource
import time
from dataclasses import replace

from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.status import Status, health_of
from supervisor.events.vocabulary import PodMessage, Why
from supervisor.kernel import prctl, procfs
from supervisor.monitor.lifecycle import SUPERVISOR_STATUS, Lifecycle
from supervisor.monitor.loop import Loop, open_signals
from supervisor.monitor.record_server import RecordServer
from supervisor.settings import RunSettings, UpstreamSettings
from supervisor.sidecar import codes as sidecar_codes
from supervisor.sidecar.document import document
from supervisor.sidecar.frames import OnLoss
from supervisor.sidecar.guest import ControlGuest, attach
from supervisor.startup import codes, upstream_codes
from supervisor.startup.answering import answer_to
from supervisor.startup.containment import containment
from supervisor.startup.execute import execute
from supervisor.startup.facts import gather
from supervisor.startup.fence_watch import FenceWatch
from supervisor.startup.inquiry import Inquiry
from supervisor.startup.own_filter import confine_monitor
from supervisor.startup.plan import Plan, check_unprivileged
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.prepare import prepare
from supervisor.startup.records import serve_records
from supervisor.startup.running import Running, fence_of
from supervisor.startup.stages import Stages
from supervisor.startup.telling import finished, refused, tell_start, told


def run(settings: RunSettings) -> int:
    """Start the workload, watch it to its end, return the container's exit status."""
    prctl.set_undumpable()
    log = Log(format=settings.log_format, level=settings.log_level)
    return told(lambda: _run(settings, log), log)


def _run(settings: RunSettings, log: Log) -> int:
    signals = open_signals()  # from here on no signal is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl.set_child_subreaper()
    lifecycle = Lifecycle(grace_s=settings.grace_s, timeout_s=settings.timeout_s)
    loop = Loop(signals=signals, lifecycle=lifecycle, log=log)
    stages = Stages()
    guest = _attach(settings, loop, log, stages)
    try:
        plan, running = _start(settings, guest, loop, log, stages)
    except Refusal as refusal:
        status = refused(refusal, log)
        guest.report(status or SUPERVISOR_STATUS)
        return status
    confine_monitor(plan.policy)
    if running.terminal is not None:
        loop.attach(running.terminal)
        log.raise_level("error")  # the terminal is raw and the workload's
    lifecycle.start(now=time.monotonic())
    guest.started(running.main, procfs.read_start_and_parent(running.main)[0])
    finish = loop.run(running.main)
    if running.terminal is not None:
        running.terminal.close()
    if not guest.report(finish.status):
        why = Why.of(sidecar_codes.UNHEARD, "the exit status was not noted")
        log.emit(PodMessage(name="sidecar.unheard", why=why))
    return finished(finish, running, plan, log)


def _attach(settings: RunSettings, loop: Loop, log: Log, stages: Stages) -> ControlGuest:
    """Everything that can be refused without the sidecar, then the sidecar. Raises Refusal."""
    check_unprivileged(gather())
    if settings.policy is not None:
        raise Refusal(codes.POLICY_FROM_SIDECAR, f"--policy {settings.policy} was given, too")
    if settings.metrics_socket is not None:
        cause = "the workload has our uid; in a sidecar pod the option is the sidecar's"
        raise Refusal(codes.METRICS_SOCKET, cause)
    if settings.upstream != UpstreamSettings():
        raise Refusal(upstream_codes.SIDECARS, "a setting about upstream was given, too")
    on_loss = OnLoss.WAIT if settings.wait_for_sidecar else OnLoss.END
    attached = attach(settings.shared, on_loss=on_loss, wait_s=settings.sidecar_timeout_s)
    stages.mark("sidecar")
    return ControlGuest(
        attached,
        shared=settings.shared,
        on_loss=on_loss,
        lost_s=settings.sidecar_timeout_s,
        loop=loop,
        log=log,
    )


def _start(
    settings: RunSettings, guest: ControlGuest, loop: Loop, log: Log, stages: Stages
) -> tuple[Plan, Running]:
    started = time.time()
    given = guest.document
    named = tuple(f"{name}={value}" for name, value in given.environment.items())
    policy = LoadedPolicy(
        given.policy, allows_network=True, whole=document(given.policy, given.environment)
    )
    told = replace(settings, passed=(*settings.passed, *named))
    plan, facts, policy, _ = prepare(told, stages, policy)
    inquiry = Inquiry(loop)
    server = serve_records(loop, lambda server: _status(server, log, started, guest, loop))
    log.remember(server.keep)
    loop.keep(log)
    running = execute(plan, facts=facts, on_proved=lambda _: None, log=log, stages=stages)
    loop.keep(FenceWatch(loop, ipv6=fence_of(running).report.ipv6))
    running.report = containment(plan, running, facts, policy, stages).as_dict()
    tell_start(running, plan, log)
    inquiry.serve(lambda word: answer_to(word, running, log))
    return plan, running


def _status(
    server: RecordServer, log: Log, started: float, guest: ControlGuest, loop: Loop
) -> Status:
    """What ``status`` tells in the agent's container; what was denied is in the sidecar's."""
    sidecar = guest.status()
    return Status(
        state="running",
        health=health_of((sidecar,), is_running=loop.main != 0),
        workload_pid=loop.main or None,
        started=started,
        policy_generation=guest.generation,
        helpers=(sidecar,),
        tunnels=0,  # the sidecar knows
        records=server.ring.records,
        forgotten=server.ring.forgotten,
        dropped=server.dropped + log.dropped,
    )
