"""Everything that is decided before the first change: gather, load, plan."""

from typing import NamedTuple

from supervisor.identity.account_files import read_accounts
from supervisor.identity.mapped import check_identity_mapped
from supervisor.settings import RunSettings, runtime_tree
from supervisor.startup.facts import Facts, gather
from supervisor.startup.plan import Plan, build
from supervisor.startup.policy import LoadedPolicy, obtain_policy
from supervisor.startup.stages import Stages
from supervisor.startup.trust_store import read_own
from supervisor.startup.upstream import Upstream, obtain_upstream


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
