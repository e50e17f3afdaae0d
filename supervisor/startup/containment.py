"""From what was planned and done to the containment report. Pure, but for our own digest file."""

import os
from collections.abc import Iterator

from supervisor.kernel import capabilities
from supervisor.settings import RUNTIME_DIGEST, runtime_tree
from supervisor.startup.facts import Facts
from supervisor.startup.plan import Plan
from supervisor.startup.policy import LoadedPolicy
from supervisor.startup.report import ContainmentReport, Control
from supervisor.startup.running import Running, fence_of, trust_of
from supervisor.startup.seclusion import TRUST_STORE
from supervisor.startup.stages import Stages
from supervisor.startup.steps import StartWorkload

# What a toggle of the policy costs.
OPENED = {
    "nested_sandbox": "new user, PID, network and IPC namespaces and chroot are allowed, which widens"
    " the kernel's surface; files below /proc may be written, so that processes of the sandbox can"
    " write each other's memory",
    "debugger": "processes of the sandbox can trace each other, and start without address"
    " randomisation",
}
SHA256_DIGITS = 64


def containment(
    plan: Plan, running: Running, facts: Facts, policy: LoadedPolicy, stages: Stages
) -> ContainmentReport:
    """What holds now, from what was done, read back and proved."""
    identity = plan.identity
    return ContainmentReport(
        identity={
            "user": identity.user,
            "uid": identity.uid,
            "gid": identity.gid,
            "groups": list(identity.groups),
            "sources": dict(identity.sources),
        },
        policy={"file": plan.policy.file, "sha256": _digest_of(policy.whole)},
        kernel=facts.kernel,
        container=_container(facts),
        runtime={"tree": runtime_tree(), "sha256": _runtime_digest()},
        controls=(*_held(plan, running, facts), *_opened(plan), *_absent(plan, running)),
        paths=tuple(_paths(running)),
        proof={} if running.proof is None else running.proof.as_dict(),
        warnings=(*plan.warnings, *running.notes),
        withheld=plan.withheld,
        workspace={} if running.workspace is None else running.workspace.as_dict(),
        stages_ms=stages.took_ms,
    )


def _container(facts: Facts) -> dict[str, object]:
    """What the container was given, as far as containment depends on it."""
    return {
        "surroundings": list(facts.surroundings),
        "uid": facts.uid,
        "capabilities": list(capabilities.names(facts.status.effective)),
        "engine_filter": bool(facts.status.seccomp),
        "namespaces": facts.may_make_namespace,
        "interfaces": list(facts.interfaces),
        "landlock_abi": facts.landlock_abi,
        "pids_max": facts.pids_max,
        "memory_max": facts.memory_max,
        "nofile": facts.nofile_hard,
    }


def _paths(running: Running) -> Iterator[dict[str, object]]:
    """Every rule of the files, with the links it came by; what of the baseline is not there is not said."""
    for outcome in () if running.files is None else running.files.paths:
        if not outcome.problem or outcome.rule.source != "baseline":
            yield {
                "path": outcome.rule.path,
                "writable": outcome.rule.writable,
                "source": outcome.rule.source,
                "at": outcome.resolved,
                "links": [list(link) for link in outcome.links],
                "problem": outcome.problem,
            }


def _digest_of(policy: bytes) -> str:
    """The digest of the policy as it is enforced here, normalised."""
    # Python's own: hashlib would map OpenSSL into the monitor for good, 5 MiB for one digest.
    from _sha256 import sha256  # type: ignore[import-not-found]

    return str(sha256(policy).hexdigest())


def _runtime_digest() -> str | None:
    try:
        with open(os.path.join(runtime_tree(), RUNTIME_DIGEST), encoding="ascii") as file:
            return file.read(SHA256_DIGITS)
    except (OSError, UnicodeDecodeError):
        return None  # a developer's checkout has none


def _held(plan: Plan, running: Running, facts: Facts) -> Iterator[Control]:
    yield Control(
        name="privileges",
        state="enforced",
        mechanism="ids, groups, five capability sets, no_new_privs",
        verified="read back before exec; proved",
        probes=_proved(running, "privileges"),
    )
    yield _network(running)
    yield _files(running)
    yield Control(
        name="system calls",
        state="enforced",
        mechanism="seccomp allow-list",
        verified="proved",
        probes=_proved(running, "system calls"),
    )
    yield _processes(running)
    yield _limits(plan, running, facts)
    yield from _trust_store(running)


def _proved(running: Running, control: str) -> int:
    return 0 if running.proof is None else len(running.proof.tried.get(control, ()))


def _network(running: Running) -> Control:
    fence = fence_of(running).report
    through = "through a user namespace" if fence.user_namespace else "with CAP_SYS_ADMIN"
    mechanism = {
        "namespace": f"own network namespace {through}, lo only, {fence.rules} rules",
        "loopback-only": "the container's own namespace, which has lo only",
        "pod": f"{fence.rules} rules in the pod's namespace",
    }[fence.form]
    if fence_of(running).held_elsewhere:
        mechanism = "rules in the pod's namespace, held by the sidecar"
    return Control(
        name="network",
        state="enforced",
        mechanism=mechanism,
        verified="read back; proved" if fence.rules else "proved",
        probes=_proved(running, "network"),
    )


def _files(running: Running) -> Control:
    files = running.files
    if files is None:
        raise ValueError("a plan without file rules cannot have been executed")
    bound = sum(not outcome.problem for outcome in files.paths)
    lost = "; ".join(f"{loss.name}: {loss.meaning}" for loss in files.losses)
    if files.newer_kernel_abi:
        lost = "; ".join(filter(None, (lost, "the kernel's ABI is newer: rights unknown to us")))
    return Control(
        name="files",
        state="degraded" if files.losses else "enforced",
        mechanism=f"Landlock ABI {files.abi}, {bound} paths" + (f"; lost: {lost}" if lost else ""),
        verified="ruleset built from opened files; proved",
        probes=_proved(running, "files"),
        allowed_by=files.losses[0].permitted_by if files.losses else "",
    )


def _processes(running: Running) -> Control:
    made = running.seclusion
    parts = ["no core dumps, no descriptor but stdio"]
    if made is not None and made.pid is not None:
        parts.append("own PID namespace with its own /proc")
    if made is not None and made.mount is not None:
        parts.append("own mount namespace")
    return Control(
        name="processes",
        state="enforced",
        mechanism=", ".join(parts),
        verified="proved",
        probes=_proved(running, "processes"),
    )


def _limits(plan: Plan, running: Running, facts: Facts) -> Control:
    (start,) = (step for step in plan.steps if isinstance(step, StartWorkload))
    own = [f"{limit.name} {limit.value}" for limit in start.limits]
    given = (("pids.max", facts.pids_max), ("memory.max", facts.memory_max))
    container = [f"{name} {value}" for name, value in given if value is not None]
    return Control(
        name="limits",
        state="enforced",
        mechanism=f"rlimits {', '.join(own)}; of the container: {', '.join(container) or 'none'}",
        verified="read from the kernel; proved",
        probes=_proved(running, "limits"),
    )


def _trust_store(running: Running) -> Iterator[Control]:
    trust = trust_of(running)
    if not trust.path:
        return  # reported as absent
    variables = trust.variables
    parts = [trust.source or f"no bundle of the image ({trust.sourceless})"]
    if trust.own:
        parts.append(f"--extra-ca ({trust.own})")
    offered = (
        f"offered by {' '.join(variables)}" if variables else "prepared, offered to no program"
    )
    yield Control(
        name=TRUST_STORE,
        state="enforced",
        mechanism=f"{trust.path}: {' and '.join(parts)}; {offered}",
        verified="read from where the workload may not write; proved",
        probes=_proved(running, TRUST_STORE),
    )


def _opened(plan: Plan) -> Iterator[Control]:
    syscalls = plan.policy.supervisor.syscalls
    toggles = (("nested_sandbox", syscalls.nested_sandbox), ("debugger", syscalls.debugger))
    for toggle, opened in toggles:
        if opened:
            yield Control(
                name=toggle.replace("_", "-"),
                state="degraded",
                mechanism=OPENED[toggle],
                verified="asked for",
                allowed_by=f"supervisor.syscalls.{toggle}",
            )


def _absent(plan: Plan, running: Running) -> Iterator[Control]:
    for item in (*plan.degraded, *running.degraded):
        yield Control(
            name=item.control,
            state="absent",
            mechanism=item.cause,
            verified="tried, or read from the kernel",
            allowed_by=item.allowed_by,
        )
