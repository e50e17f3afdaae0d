"""What the steps of a start made: the state that ``execute`` fills in, one field a step."""

from dataclasses import dataclass, field

from supervisor.fence.request import FencedNamespace
from supervisor.monitor.spec import Confinement
from supervisor.monitor.terminal import Terminal
from supervisor.startup.controls import Degraded
from supervisor.startup.landlock_ruleset import FilesystemConfinement
from supervisor.startup.proof.model import Ground
from supervisor.startup.proof.prove import Proof
from supervisor.startup.seclusion import Seclusion
from supervisor.startup.trust_store import TrustStore
from supervisor.workspace.report import Report as WorkspaceReport


@dataclass(slots=True, kw_only=True)
class Running:
    """What the steps made; complete once the last one is done."""

    main: int = 0
    fence: FencedNamespace | None = None
    workspace: WorkspaceReport | None = None
    seclusion: Seclusion | None = None
    trust: TrustStore | None = None
    files: FilesystemConfinement | None = None
    degraded: tuple[Degraded, ...] = ()
    proof: Proof | None = None
    confinement: Confinement | None = None  # of every launch
    ground: Ground | None = None
    terminal: Terminal | None = None
    report: dict[str, object] = field(default_factory=dict)  # the containment report
    notes: list[str] = field(default_factory=list)


def fence_of(running: Running) -> FencedNamespace:
    """The fence, which every step after CloseNetwork may rely on."""
    if running.fence is None:
        raise ValueError("a plan without a fence cannot be executed")
    return running.fence


def trust_of(running: Running) -> TrustStore:
    """The trust store, or why there is none; settled by Seclude."""
    if running.trust is None:
        raise ValueError("a plan without a trust store cannot be executed")
    return running.trust


def confinement_of(running: Running) -> Confinement:
    """The confinement of every launch, which was proved."""
    if running.confinement is None:
        raise ValueError("nothing is launched before the proof")
    return running.confinement


def nflog_of(running: Running) -> int | None:
    """Where the fence says what it refused, if it has rules."""
    return fence_of(running).sockets.get("nflog")
