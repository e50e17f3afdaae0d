"""The containment report: what was asked for, what holds, by which mechanism. Pure data.

``as_dict`` is the JSON form, described by ``report.schema.json``; ``table`` is the one for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

VERSION = 1
State = Literal["enforced", "degraded", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One thing that stands between the workload and the rest."""

    name: str
    state: State
    mechanism: str
    verified: str  # how it is known to hold: a read-back, the proof
    probes: int = 0  # how many probes proved it; their names are in the report's proof
    allowed_by: str = ""  # who lets it be less than "enforced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentReport:
    """The state of one start."""

    identity: Mapping[str, object]
    policy: Mapping[str, object]
    kernel: str
    container: Mapping[str, object]
    runtime: Mapping[str, object]
    controls: tuple[Control, ...]
    paths: tuple[Mapping[str, object], ...]
    proof: Mapping[str, object]
    warnings: tuple[str, ...]
    withheld: tuple[str, ...]
    workspace: Mapping[str, object]
    stages_ms: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "version": VERSION,
            "identity": dict(self.identity),
            "policy": dict(self.policy),
            "kernel": self.kernel,
            "container": dict(self.container),
            "runtime": dict(self.runtime),
            "controls": [asdict(control) for control in self.controls],
            "paths": [dict(path) for path in self.paths],
            "proof": dict(self.proof),
            "warnings": list(self.warnings),
            "withheld": list(self.withheld),
            "workspace": dict(self.workspace),
            "stages_ms": dict(self.stages_ms),
        }


def summary(report: Mapping[str, object]) -> dict[str, object]:
    """The few words of the report that fit into a termination log."""
    controls = [_mapping(control) for control in _sequence(report["controls"])]
    proof = _mapping(report["proof"])
    return {
        "policy": _mapping(report["policy"])["sha256"],
        "runtime": _mapping(report["runtime"])["sha256"],
        **{
            state: [control["name"] for control in controls if control["state"] == state]
            for state in get_args(State)
        },
        "probes": _count(proof),
        "surprises": len(_sequence(proof["surprises"])),
    }


def weaker(report: Mapping[str, object]) -> tuple[str, ...]:
    """The controls that are less than enforced, by name."""
    controls = (_mapping(control) for control in _sequence(report["controls"]))
    return tuple(str(one["name"]) for one in controls if one["state"] != "enforced")


def table(report: Mapping[str, object]) -> str:
    """The report's JSON object as lines for people."""
    identity = _mapping(report["identity"])
    groups = ",".join(str(group) for group in _sequence(identity["groups"])) or "none"
    policy, runtime = _mapping(report["policy"]), _mapping(report["runtime"])
    lines = [
        f"identity   {identity['user']} ({identity['uid']}:{identity['gid']}), groups {groups}",
        f"policy     {policy['file']}{_digest(policy)}",
        f"runtime    {runtime['tree']}{_digest(runtime)}",
    ]
    for control in map(_mapping, _sequence(report["controls"])):
        permission = f"; allowed by {control['allowed_by']}" if control["allowed_by"] else ""
        count = control["probes"]
        probes = f", {count} probe{'s' if count != 1 else ''}" if count else ""
        lines.append(
            f"{control['state']!s:<10} {control['name']!s:<16} {control['mechanism']}"
            f" ({control['verified']}{probes}{permission})"
        )
    lines.append(_proof_line(_mapping(report["proof"])))
    lines += [f"warning    {warning}" for warning in _sequence(report["warnings"])]
    if withheld := _sequence(report["withheld"]):
        lines.append(f"withheld   {len(withheld)} variables: {' '.join(map(str, withheld))}")
    return "\n".join(lines)


def _digest(part: Mapping[str, object]) -> str:
    return f", sha256 {part['sha256']}" if part["sha256"] else ""


def _proof_line(proof: Mapping[str, object]) -> str:
    count = _count(proof)
    surprises = [_mapping(surprise) for surprise in _sequence(proof["surprises"])]
    if not surprises:
        return f"proof      {count} probes in {proof['took_ms']} ms, no surprise"
    listed = "; ".join(f"{surprise['probe']}: {surprise['what']}" for surprise in surprises)
    return f"PROOF      {len(surprises)} of {count} probes surprised: {listed}"


def _count(proof: Mapping[str, object]) -> int:
    return sum(len(_sequence(names)) for names in _mapping(proof["probes"]).values())


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"not an object: {value!r}")
    return value


def _sequence(value: object) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"not a list: {value!r}")
    return value
