"""From what was planned and done to the containment report. Pure."""

from collections.abc import Iterator

from supervisor.startup.execute import Running
from supervisor.startup.facts import Facts
from supervisor.startup.plan import Plan
from supervisor.startup.report import ContainmentReport, Control
from supervisor.startup.stages import Stages


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
        controls=(*_held(running), *_absent(plan)),
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


def _absent(plan: Plan) -> Iterator[Control]:
    for item in plan.degraded:
        yield Control(
            name=item.control,
            state="absent",
            mechanism=item.cause,
            verified="/sys/fs/cgroup",
            allowed_by=item.allowed_by,
        )
