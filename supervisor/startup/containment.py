"""From what was planned and done to the containment report. Pure."""

from collections.abc import Iterator

from supervisor.startup.execute import Running
from supervisor.startup.facts import Facts
from supervisor.startup.plan import Plan
from supervisor.startup.report import ContainmentReport, Control
from supervisor.startup.stages import Stages

# What a toggle of the policy costs.
OPENED = {
    "nested_sandbox": "new user, PID, network and IPC namespaces and chroot are allowed, which widens"
    " the kernel's surface; files below /proc may be written, so that processes of the sandbox can"
    " write each other's memory",
    "debugger": "processes of the sandbox can trace each other, and start without address"
    " randomisation",
}


def containment(plan: Plan, running: Running, facts: Facts, stages: Stages) -> ContainmentReport:
    """What holds now, from what was done and read back."""
    identity = plan.identity
    return ContainmentReport(
        identity={
            "user": identity.user,
            "uid": identity.uid,
            "gid": identity.gid,
            "groups": list(identity.groups),
            "sources": dict(identity.sources),
        },
        policy={"file": plan.policy.file},
        kernel=facts.kernel,
        controls=(*_held(running), *_opened(plan), *_absent(plan, running)),
        warnings=(*plan.warnings, *running.notes),
        withheld=plan.withheld,
        workspace={} if running.workspace is None else running.workspace.as_dict(),
        stages_ms=stages.took_ms,
    )


def _held(running: Running) -> Iterator[Control]:
    yield Control(
        name="privileges",
        state="enforced",
        mechanism="ids, groups, five capability sets, no_new_privs",
        verified="read back before exec; becoming root again refused",
    )
    yield _network(running)
    yield _files(running)
    yield Control(
        name="system calls",
        state="enforced",
        mechanism="seccomp allow-list",
        verified="installed without error",
    )


def _network(running: Running) -> Control:
    if running.fence is None:
        raise ValueError("a plan without a fence cannot have been executed")
    fence = running.fence.report
    through = "through a user namespace" if fence.user_namespace else "with CAP_SYS_ADMIN"
    mechanism = {
        "namespace": f"own network namespace {through}, lo only, {fence.rules} rules",
        "loopback-only": "the container's own namespace, which has lo only",
        "pod": f"{fence.rules} rules in the pod's namespace",
    }[fence.form]
    return Control(name="network", state="enforced", mechanism=mechanism, verified="read back")


def _files(running: Running) -> Control:
    files = running.files
    if files is None:
        raise ValueError("a plan without file rules cannot have been executed")
    bound = sum(not outcome.problem for outcome in files.paths)
    lost = "; ".join(f"{loss.name}: {loss.meaning}" for loss in files.losses)
    return Control(
        name="files",
        state="degraded" if files.losses else "enforced",
        mechanism=f"Landlock ABI {files.abi}, {bound} paths" + (f"; lost: {lost}" if lost else ""),
        verified="ruleset built from opened files",
        allowed_by=files.losses[0].permitted_by if files.losses else "",
    )


def _opened(plan: Plan) -> Iterator[Control]:
    syscalls = plan.policy.supervisor.syscalls
    for toggle, opened in (
        ("nested_sandbox", syscalls.nested_sandbox),
        ("debugger", syscalls.debugger),
    ):
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
