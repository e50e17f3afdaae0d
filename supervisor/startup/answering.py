"""What somebody who enters the container is told when asking for the report, or for a new proof."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.events.vocabulary import Finding, Severity, Why
from supervisor.startup.inquiry import PROVE
from supervisor.startup.proof.prove import prove, require_no_surprise
from supervisor.startup.running import Running, confinement_of, nflog_of


def answer_to(
    word: bytes,
    running: Running,
    log: Log,
    alone_with_the_log: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, object]:
    """The report, with a proof made now if the ``word`` asks for it."""
    if word != PROVE or running.ground is None:
        return running.report
    proof = None
    try:
        with alone_with_the_log():
            proof = prove(running.ground, confinement_of(running), nflog_of(running))
        require_no_surprise(proof)
    except Refusal as refusal:
        why = Why.refused(refusal)
        title = "the proof, made again, does not hold"
        log.emit(Finding(title=title, severity=Severity.CRITICAL, why=why))
        if proof is None:
            return {"error": refusal.as_dict()}
    return running.report | {"proof": proof.as_dict()}
