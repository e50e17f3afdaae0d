"""What the probes may rely on here, from what the start made."""

import os

from supervisor.fence.request import CAPTURE_PORT
from supervisor.startup.facts import Facts
from supervisor.startup.proof.model import Ground
from supervisor.startup.running import Running, fence_of
from supervisor.startup.seclusion import PRIVATE_SHM
from supervisor.startup.steps import StartWorkload


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
        foreign_ids=os.stat("/proc/self/ns/pid").st_ino,
        own_shm=PRIVATE_SHM not in lacking,
        foreign_shm=0 if PRIVATE_SHM in lacking else os.stat("/dev/shm").st_dev,  # noqa: S108
        ipv6=fence.report.ipv6,
        routed=fence.report.form != "pod",
        ruled="nflog" in fence.sockets,
        capture=CAPTURE_PORT if "capture4" in fence.sockets or fence.held_elsewhere else None,
        nested_sandbox=step.toggles.nested_sandbox,
        debugger=step.toggles.debugger,
        guarded=facts.uid != 0 and seclusion.pid is None,
        landlock_abi=0 if rules.ruleset is None else rules.abi,
        covered=tuple(outcome.resolved for outcome in bound),
        writable=tuple(outcome.resolved for outcome in bound if outcome.rule.writable),
        outside="",
    )
