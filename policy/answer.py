"""One question to the decision core, with the addresses of the host where they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policy.address import judge_addresses
from policy.decide import decide_connection
from policy.intent import ConnectionIntent, RequestIntent
from policy.suggest import Explanation, explain

if TYPE_CHECKING:
    from policy.codes import Code
    from policy.decision import Verdict
    from policy.host import Address
    from policy.index import Index

Intent = ConnectionIntent | RequestIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What would happen. Differs from the explanation's decision only where an address refuses."""

    verdict: Verdict
    code: Code
    cause: str
    explanation: Explanation

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of ``policy explain``."""
        told = self.explanation.as_dict()
        if self.code is not self.explanation.decision.code:
            told["suggestion"] = {"action": "change-request", "text": self.code.remedy}
        return {**told, "verdict": self.verdict, "code": self.code.name, "cause": self.cause}


def answer(index: Index, intent: Intent, *, resolves: tuple[Address, ...] = ()) -> Answer:
    """Ask; ``resolves`` are all addresses that the host is taken to have. Total, as deciding is."""
    explanation = explain(index, intent)
    decision = explanation.decision
    if resolves and decision.is_forwarded:
        connection = intent.connection if isinstance(intent, RequestIntent) else intent
        admission = decide_connection(index, connection).admission
        if admission is not None:
            judged = judge_addresses(resolves, rule=admission.addresses, port=connection.port)
            if not judged.is_allowed:
                return Answer(
                    verdict="deny", code=judged.code, cause=judged.cause, explanation=explanation
                )
    return Answer(
        verdict=decision.verdict,
        code=decision.code,
        cause=explanation.cause,
        explanation=explanation,
    )
