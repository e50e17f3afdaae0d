"""What the decision core answers: a verdict, why, by which rule, and what an allowed one entails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from policy.address import AddressRule
    from policy.codes import Code
    from policy.findings import Origin
    from policy.network import Ech, Protocol, Tls

# allow  go on
# audit  an endpoint in audit mode would have refused: go on, and report it as such
# deny   refuse
Verdict = Literal["allow", "audit", "deny"]

# Protocols whose rules nothing evaluates yet, and those whose rules are, where requests can be read.
NOT_EVALUATED: frozenset[Protocol] = frozenset({"websocket", "graphql", "json-rpc", "mcp", "sql"})
EVALUATED: frozenset[Protocol] = frozenset({"rest"})


class RuleReference(NamedTuple):
    """The part of the policy that decided; ``origin`` is its place in the file.

    ``entry`` is a key of ``network_policies``; the numbers count from 0, None where the decision
    did not go that deep.
    """

    entry: str
    origin: Origin
    endpoint: int | None = None
    part: Literal["", "access", "rules", "deny_rules", "binaries"] = ""
    rule: int | None = None

    @property
    def place(self) -> tuple[str, int | None]:
        """The entry and the number of its endpoint."""
        return self.entry, self.endpoint

    @property
    def path(self) -> str:
        """The place in the document's structure, as findings write it."""
        text = f"network_policies.{self.entry}"
        if self.endpoint is not None:
            text += f".endpoints[{self.endpoint}]"
        if self.part:
            text += f".{self.part}"
        return text if self.rule is None else f"{text}[{self.rule}]"


class Admission(NamedTuple):
    """What an allowed connection is bound to.

    ``addresses`` is for policy.address.judge_addresses, before anything is dialled. ``inspect``
    are the protocols whose rules apply to what flows over the connection: where it is not empty,
    each request is a decision of its own. ``not_enforced`` are those among them that this version
    cannot judge, in the case of "rest" inside TLS, and that the policy accepts unjudged.
    """

    addresses: AddressRule
    tls: Tls
    ech: Ech
    inspect: frozenset[Protocol]
    not_enforced: frozenset[Protocol]

    @property
    def judges_plain_requests(self) -> bool:
        """Whether requests that can be read are judged one by one."""
        return bool(self.inspect & EVALUATED or self.inspect - self.not_enforced)

    @property
    def judges_hidden_requests(self) -> bool:
        """Whether a connection must not hide its requests in TLS."""
        return bool(self.inspect - self.not_enforced)


class Decision(NamedTuple):
    """One answer. A tuple, because a dataclass costs more to make than the rest of a decision.

    ``rule`` is what allowed or forbade; None for a denial that no rule is about. ``admission``
    belongs to allowed connections. ``path`` is the canonical path of a request, which is what has
    been judged and therefore what must be sent. ``detail`` adds facts where the code has several
    causes.
    """

    verdict: Verdict
    code: Code
    rule: RuleReference | None = None
    admission: Admission | None = None
    path: str | None = None
    detail: str = ""

    @property
    def is_forwarded(self) -> bool:
        """Whether what was asked for happens: allowed, or only audited."""
        return self.verdict != "deny"
