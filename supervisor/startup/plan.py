"""Decide the whole start from settings, facts and policy. Pure: nothing is touched.

Everything that can be refused is refused here, before the first change; ``execute`` then decides
nothing. What is weaker than the policy asks for is refused unless the policy accepts it, and then
listed in ``degraded``.
"""

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from policy.builtin import BASELINE
from policy.model import Policy
from supervisor.errors import Refusal
from supervisor.fence.request import PROXY_PORT, Loopback, PodRequest, Served
from supervisor.identity.accounts import Accounts
from supervisor.identity.decide import Identity, check_reserved, decide
from supervisor.identity.entries import plan_entries
from supervisor.identity.environment import identity_environment
from supervisor.identity.inputs import (
    HELPER_IDS,
    IdentityInputs,
    ProcessIds,
    inputs_from_environment,
    with_arguments,
)
from supervisor.kernel import capabilities
from supervisor.kernel.filters import Toggles
from supervisor.monitor import codes as monitor_codes
from supervisor.monitor import environment
from supervisor.monitor.spec import Limit
from supervisor.settings import RunSettings
from supervisor.startup import codes, trust_store
from supervisor.startup.controls import Degraded, check_minimum, judge, lacking_in_container
from supervisor.startup.facts import Facts
from supervisor.startup.filesystem_rules import BaselinePath, path_rules
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
from supervisor.workspace.plan import GivenBy, Owner, WorkspaceRequest
from supervisor.workspace.plan import plan as plan_workspace

# To become somebody else for good and to end what it starts, as capabilities(7) names it.
NEEDED_CAPABILITIES = ("SETUID", "SETGID", "SETPCAP", "KILL")
RLIMITS = {
    "nofile": resource.RLIMIT_NOFILE,
    "fsize": resource.RLIMIT_FSIZE,
    "nproc": resource.RLIMIT_NPROC,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole start."""

    identity: Identity
    policy: Policy
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    withheld: tuple[str, ...]  # names of container variables the workload does not get
    degraded: tuple[Degraded, ...]


def build(
    *,
    settings: RunSettings,
    facts: Facts,
    policy: Policy,
    serves_network: bool,
    accounts: Accounts,
    supervisor_tree: str,
    authorities: bytes = b"",
) -> Plan:
    """Decide the start. Raises Refusal."""
    _check_mode(settings, facts)
    _check_policy(policy)
    identity = _identity(settings, facts, policy, accounts)
    if facts.uid == 0:
        _check_capabilities(facts)
    extensions = policy.supervisor
    degraded = judge(
        lacking_in_container(facts), require=extensions.require, accept=extensions.accept
    )
    made = environment.build(
        settings.environment,
        identity=identity_environment(identity),
        named=settings.passed,
        pass_all=settings.pass_all,
        proxy_port=PROXY_PORT if settings.proxy_env and serves_network else None,
    )
    workspace = _workspace(settings, facts, policy, identity, supervisor_tree)
    start = StartWorkload(
        argv=settings.command or (identity.shell,),
        environment=made.variables,
        cwd=workspace.steps[0].path,
        uid=identity.uid,
        gid=identity.gid,
        groups=identity.groups if facts.uid == 0 else facts.status.groups,
        limits=tuple(_limits(facts, policy)),
        umask=settings.umask,
        toggles=Toggles(
            nested_sandbox=policy.supervisor.syscalls.nested_sandbox,
            debugger=policy.supervisor.syscalls.debugger,
        ),
        terminal=settings.interactive,
    )
    steps: list[Step] = []
    if facts.uid == 0 and facts.etc_writable:
        steps.append(AddAccount(entries=plan_entries(accounts, identity)))
    network = _network(settings, facts, policy, identity, serves_network=serves_network)
    check = CheckControls(require=extensions.require, accept=extensions.accept)
    steps += [workspace, network, _seclude(start, policy, authorities)]
    steps += [_files(start, facts, policy), check]
    steps += [Prove(start=start), start]
    return Plan(
        identity=identity,
        policy=policy,
        steps=tuple(steps),
        warnings=(*identity.warnings, *map(str, policy.findings)),
        withheld=made.withheld,
        degraded=degraded,
    )


def _check_mode(settings: RunSettings, facts: Facts) -> None:
    if not facts.is_main_process:
        raise Refusal(
            monitor_codes.NOT_MAIN_PROCESS, f"pid {facts.pid} has the parent {facts.ppid} here"
        )
    if settings.mode == "network-only":
        check_unprivileged(facts)


def check_unprivileged(facts: Facts) -> None:
    """Raise Refusal unless this process has nothing that it would have to give up."""
    status = facts.status
    sets = {
        "permitted": status.permitted,
        "effective": status.effective,
        "inheritable": status.inheritable,
        "ambient": status.ambient,
        "bounding": status.bounding,
    }
    held = [f"{name}: {', '.join(capabilities.names(mask))}" for name, mask in sets.items() if mask]
    if facts.uid == 0 or 0 in (*status.uids, *status.gids) or held:
        cause = f"this process is uid {facts.uid}; capabilities {'; '.join(held) or 'none'}"
        raise Refusal(codes.MODE_NEEDS_UNPRIVILEGED, cause)
    if not status.no_new_privs:
        cause = "no_new_privs is not set: a program of the image could gain privileges"
        raise Refusal(codes.MODE_NEEDS_UNPRIVILEGED, cause)


def _check_policy(policy: Policy) -> None:
    if policy.not_enforced:
        listed = "; ".join(str(finding) for finding in policy.not_enforced[:5])
        raise Refusal(codes.NOT_ENFORCED, listed)


def _identity(settings: RunSettings, facts: Facts, policy: Policy, accounts: Accounts) -> Identity:
    inputs = identity_inputs(settings, facts, policy)
    identity = decide(inputs, accounts)
    check_reserved(identity, inputs.helper_ids)
    return identity


def identity_inputs(settings: RunSettings, facts: Facts, policy: Policy) -> IdentityInputs:
    """Everything that may decide who the workload is."""
    from dataclasses import replace

    status = facts.status
    process = ProcessIds(uid=status.uids[1], gid=status.gids[1], groups=status.groups)
    inputs = with_arguments(
        inputs_from_environment(settings.environment),
        uid=settings.uid,
        gid=settings.gid,
        groups=settings.groups,
        process=process,
    )
    return replace(
        inputs,
        run_as_user=policy.process.run_as_user,
        run_as_group=policy.process.run_as_group,
    )


def _check_capabilities(facts: Facts) -> None:
    missing = [
        name for name in NEEDED_CAPABILITIES if not capabilities.has(facts.status.effective, name)
    ]
    if missing:
        raise Refusal(
            codes.CAPABILITY_MISSING,
            f"uid 0 without {', '.join('CAP_' + name for name in missing)}",
        )


def _workspace(
    settings: RunSettings, facts: Facts, policy: Policy, identity: Identity, supervisor_tree: str
) -> PrepareWorkspace:
    driver_gave = any(
        name in settings.environment for name in ("SANDBOX_UID", "OPENSHELL_SANDBOX_UID")
    )
    owner = Owner(uid=identity.uid, gid=identity.gid, groups=identity.groups)
    named = {} if settings.workdir is None else {"workdir": settings.workdir}
    request = WorkspaceRequest(
        owner=owner,
        supervisor_tree=supervisor_tree,
        workdir_given_by=GivenBy.DEFAULT if settings.workdir is None else GivenBy.ARGUMENT,
        read_write=tuple(entry.path for entry in policy.filesystem.read_write),
        identity_given_by_driver=facts.uid == 0 and (driver_gave or settings.uid is not None),
        capabilities=frozenset(capabilities.names(facts.status.effective)),
        **named,
    )
    return PrepareWorkspace(steps=plan_workspace(request))


def _network(
    settings: RunSettings,
    facts: Facts,
    policy: Policy,
    identity: Identity,
    *,
    serves_network: bool,
) -> CloseNetwork | RelyOnSidecar:
    """Choose the fence: an own namespace where one can be made, else rules around our own."""
    form = _fence_form(settings, facts, serves_network=serves_network)
    check_minimum(policy.supervisor.require, form=form, landlock_abi=facts.landlock_abi)
    if settings.mode == "network-only":
        return RelyOnSidecar()
    reason = f"policy {policy.file} " + (
        "names what is allowed" if serves_network else "allows no network"
    )
    if form == "namespace":
        return CloseNetwork(served=Served() if serves_network else None, pod=None, reason=reason)
    loopback = policy.supervisor.loopback
    request = PodRequest(
        egress_uid=HELPER_IDS["egress"],
        workload_uid=identity.uid,
        loopback=Loopback(allowed=None if loopback is None else frozenset(loopback)),
        force=settings.fence_this_netns,
    )
    return CloseNetwork(served=request.served, pod=request, reason=reason)


def _fence_form(
    settings: RunSettings, facts: Facts, *, serves_network: bool
) -> Literal["namespace", "pod"]:
    if settings.mode == "network-only":
        return "pod"  # the sidecar's
    if settings.fence != "auto":
        return settings.fence
    lonely = facts.interfaces == ("lo",) and not serves_network
    return "namespace" if facts.may_make_namespace or lonely or not facts.may_fence_pod else "pod"


def _seclude(start: StartWorkload, policy: Policy, authorities: bytes) -> Seclude:
    named = [entry.path for entry in policy.filesystem.read_write]
    workdir = [start.cwd] if policy.filesystem.include_workdir else []
    return Seclude(
        authorities=authorities,
        writable=(*named, *workdir),
        groups=frozenset((start.gid, *start.groups)),
    )


def _files(start: StartWorkload, facts: Facts, policy: Policy) -> ConfineFiles:
    baseline = [BaselinePath(path.path, path.write, path.reason) for path in BASELINE]
    baseline += [
        BaselinePath(place, False, "certificates that programs trust")
        for place in (trust_store.mount_point(), trust_store.RUN_DIRECTORY)
    ]
    if start.argv[0].startswith("/"):
        # An agent image may be one static binary anywhere; naming it is asking for it to run.
        baseline.append(BaselinePath(start.argv[0], False, "the command"))
    rules = path_rules(
        read_only=[entry.path for entry in policy.filesystem.read_only],
        read_write=[entry.path for entry in policy.filesystem.read_write],
        workdir=start.cwd if policy.filesystem.include_workdir else None,
        baseline=baseline,
        nested_sandbox=start.toggles.nested_sandbox,
    )
    return ConfineFiles(
        rules=rules,
        compatibility=policy.landlock,
        groups=frozenset((start.gid, *start.groups)),
        as_workload=facts.uid != 0,
    )


def _limits(facts: Facts, policy: Policy) -> Iterable[Limit]:
    yield Limit(name="core", resource=resource.RLIMIT_CORE, value=0)
    for name, kind in RLIMITS.items():
        value = getattr(policy.supervisor.limits, name)
        if value is None:
            continue
        if name == "nofile" and value > facts.nofile_hard:
            raise Refusal(
                codes.PLAN_LIMIT, f"nofile {value} is above the container's own {facts.nofile_hard}"
            )
        yield Limit(name=name, resource=kind, value=value)
