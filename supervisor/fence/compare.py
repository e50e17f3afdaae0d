"""Is what the kernel holds what it was asked for? Pure."""

from supervisor.errors import Refusal
from supervisor.fence.codes import READ_BACK_DIFFERS
from supervisor.kernel.nft_rules import meaning
from supervisor.kernel.ruleset import Held, HeldRule, Plain

# A changed rule set is named by its first differences; the rest is in `nft list ruleset`.
NAMED_DIFFERENCES = 3


def require_equal(held: Held | None, asked: Held) -> None:
    """Raise Refusal naming what differs, unless the kernel holds exactly what was asked."""
    found = differences(held, asked)
    if found:
        raise Refusal(READ_BACK_DIFFERS, "; ".join(found[:NAMED_DIFFERENCES]))


def differences(held: Held | None, asked: Held) -> list[str]:
    """Every difference in words; empty when both are the same."""
    if held is None:
        return ["the table is gone"]
    found = []
    if held.flags != asked.flags:
        found.append(f"table flags are {held.flags}, not {asked.flags}")
    if held.chains != asked.chains:
        found.append(f"chains are {held.chains}, not {asked.chains}")
    if held.sets != asked.sets:
        found.append(f"port sets are {held.sets}, not {asked.sets}")
    for chain in sorted({rule.chain for rule in (*held.rules, *asked.rules)}):
        found += _rule_differences(chain, held, asked)
    return found


def _rule_differences(chain: str, held: Held, asked: Held) -> list[str]:
    has = [rule for rule in held.rules if rule.chain == chain]
    wants = [rule for rule in asked.rules if rule.chain == chain]
    found = []
    if len(has) != len(wants):
        found.append(f"chain {chain} has {len(has)} rules, not {len(wants)}")
    for position, (one, other) in enumerate(zip(has, wants, strict=False), start=1):
        if not _same(one, other):
            found.append(
                f"rule {position} of chain {chain} is {one.comment!r} {_words(one)}, "
                f"not {other.comment!r} {_words(other)}"
            )
    return found


def _same(one: HeldRule, other: HeldRule) -> bool:
    if one == other:
        return True
    return one.comment == other.comment and _words(one) == _words(other)


def _words(rule: HeldRule) -> list[Plain]:
    return [meaning(expression) for expression in rule.expressions]
