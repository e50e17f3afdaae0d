"""What both forms of the fence say in the same words."""

from supervisor.kernel.ruleset import (
    AtMost,
    Carries,
    Chain,
    Count,
    Hook,
    Log,
    Protocol,
    Reject,
    Rule,
    Verdict,
)

TABLE = "sandbox_supervisor"
# Ours to name: groups are per network namespace. Not 0 to 10, which other programs' examples use.
NFLOG_GROUP = 61
# Enough to see every attempt of an honest program; a port scan is counted, not logged in full.
LOGGED_PER_SECOND = 50
LOGGED_BURST = 100

BLOCKED_OUT = "blocked out"
BLOCKED_IN = "blocked in"

FILTER_PRIORITY = 0
# Before -100, where every other table's destination NAT hooks: a mesh or an engine's DNS
# forwarding must not see the workload's packets first.
NAT_PRIORITY = -110

_LOGGED = AtMost(LOGGED_PER_SECOND, LOGGED_BURST)

# The end of every output chain: whatever nothing accepted.
REFUSE_OUT = (
    Rule(
        comment="log blocked out",
        matches=(_LOGGED,),
        statements=(Log(NFLOG_GROUP, BLOCKED_OUT),),
    ),
    Rule(
        comment="blocked tcp out",
        matches=(Carries(Protocol.TCP),),
        statements=(Count(),),
        ending=Reject.RESET,
    ),
    Rule(comment="blocked out", statements=(Count(),), ending=Reject.PROHIBITED),
)

# The end of every input chain. Silent: an answer would tell strangers that we are here.
REFUSE_IN = (
    Rule(comment="log blocked in", matches=(_LOGGED,), statements=(Log(NFLOG_GROUP, BLOCKED_IN),)),
    Rule(comment="blocked in", statements=(Count(),), ending=Verdict.DROP),
)

# Nothing is ever forwarded, whatever the forwarding sysctl says.
NO_FORWARDING = Chain(
    name="forward",
    kind="filter",
    hook=Hook.FORWARD,
    priority=FILTER_PRIORITY,
    default=Verdict.DROP,
)
