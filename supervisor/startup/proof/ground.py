"""What the probes may rely on here, from what the start made."""

import os
import socket

from supervisor.fence.request import CAPTURE_PORT, Form
from supervisor.startup.facts import Facts
from supervisor.startup.inquiry import address
from supervisor.startup.proof.model import Ground
from supervisor.startup.running import Running, fence_of, trust_of
from supervisor.startup.seclusion import PRIVATE_SHM
from supervisor.startup.steps import StartWorkload

FAR = {4: ("198.51.100.1", 443), 6: ("2001:db8::1", 443)}


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
        routed=frozenset(version for version in (4, 6) if _is_routed(version, fence.report.form)),
        ruled="nflog" in fence.sockets,
        capture=CAPTURE_PORT if "capture4" in fence.sockets or fence.held_elsewhere else None,
        nested_sandbox=step.toggles.nested_sandbox,
        debugger=step.toggles.debugger,
        guarded=facts.uid != 0 and seclusion.pid is None,
        limits=step.limits,
        control_address=address(),
        landlock_abi=0 if rules.ruleset is None else rules.abi,
        covered=tuple(outcome.resolved for outcome in bound),
        writable=tuple(outcome.resolved for outcome in bound if outcome.rule.writable),
        trust_store=trust_of(running).path,
        outside="",
    )


def _is_routed(version: int, form: Form) -> bool:
    """Whether a packet to a documentation address is made at all, for the fence to refuse it.

    A namespace of ours routes everything to lo; another one is asked, which sends nothing.
    """
    if form == "namespace":
        return True
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect(FAR[version])
    except OSError:
        return False
    return True
