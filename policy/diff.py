"""What changes between two policies, as consequences: which traffic, not which lines.

Both policies are asked the same questions. Each endpoint, program and rule of either gives sample
questions (a star becomes a word that no policy writes), and the decision core answers them under
both. So two texts that decide alike show no difference, however they are written. A sample stands
for its rule; what a rule grants through ancestors is not asked about on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from policy.decide import decide_connection, decide_request
from policy.index import compile_policy
from policy.intent import ConnectionIntent, RequestIntent
from policy.network import RestRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.decision import Admission, Decision
    from policy.findings import Origin
    from policy.index import Index
    from policy.model import PathEntry, Policy
    from policy.network import Binary, Endpoint
    from policy.path import PathPattern

# 100 000 questions take about a second; a larger difference is cut and says so.
MAX_QUESTIONS = 100_000
# Stands for a star. No author writes it, so it matches only by a star.
_ANY = "zqxjany"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One consequence: what is asked for, in the words of the rule that named it, and by whom."""

    what: str
    binary: str
    old: str
    new: str
    origin: Origin

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {
            "what": self.what,
            "binary": self.binary,
            "old": self.old,
            "new": self.new,
            "file": self.origin.file,
            "line": self.origin.line,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All consequences. ``handled`` are connections that stay allowed and are carried otherwise;
    ``restart`` are changes of the static half, which only a new start applies. ``is_cut``: there
    were more questions than MAX_QUESTIONS.
    """

    allowed: tuple[Change, ...]
    denied: tuple[Change, ...]
    handled: tuple[Change, ...]
    restart: tuple[str, ...]
    is_cut: bool

    @property
    def is_empty(self) -> bool:
        """The policies decide alike, as far as was asked."""
        return not (self.allowed or self.denied or self.handled or self.restart or self.is_cut)


@dataclass(frozen=True, slots=True)
class _Question:
    """``is_carrier``: a connection whose requests are asked about one by one; ``is_general``: that,
    or a request that its own rule does not name.
    """

    intent: ConnectionIntent | RequestIntent
    what: str
    binary: str
    origin: Origin
    is_carrier: bool = False
    is_general: bool = False


def difference(old: Policy, new: Policy) -> Difference:
    """What changes when ``new`` replaces ``old``."""
    before, after = compile_policy(old), compile_policy(new)
    allowed: list[Change] = []
    denied: list[Change] = []
    handled: list[Change] = []
    questions = _collected(new, old)
    for question in questions.values():
        one, other = decide(before, question.intent), decide(after, question.intent)
        if one.is_forwarded != other.is_forwarded and not question.is_carrier:
            changes = allowed if other.is_forwarded else denied
            changes.append(_change(question, one.verdict, other.verdict))
        elif one.is_forwarded and other.is_forwarded and (told := _handling(one, other)):
            handled.append(_change(question, *told))
    return Difference(
        allowed=tuple(allowed),
        denied=tuple(denied),
        handled=tuple(handled),
        restart=tuple(_static_changes(old, new)),
        is_cut=len(questions) == MAX_QUESTIONS,
    )


def _collected(*policies: Policy) -> dict[ConnectionIntent | RequestIntent, _Question]:
    """Each question once, at most MAX_QUESTIONS, in the words of the rule that says most about it."""
    found: dict[ConnectionIntent | RequestIntent, _Question] = {}
    for policy in policies:
        for question in _questions(policy):
            known = found.get(question.intent)
            if known is None and len(found) == MAX_QUESTIONS:
                return found
            if known is None or (known.is_general and not question.is_general):
                found[question.intent] = question
    return found


def _change(question: _Question, old: str, new: str) -> Change:
    return Change(
        what=question.what, binary=question.binary, old=old, new=new, origin=question.origin
    )


def decide(index: Index, intent: ConnectionIntent | RequestIntent) -> Decision:
    """The decision core's answer to either kind of question."""
    if isinstance(intent, RequestIntent):
        return decide_request(index, intent)
    return decide_connection(index, intent)


def _handling(old: Decision, new: Decision) -> tuple[str, str] | None:
    """How an allowed connection or request was treated and will be, where that differs."""
    if old.verdict != new.verdict:
        return old.verdict, new.verdict
    if old.admission is None or new.admission is None or old.admission == new.admission:
        return None
    one, other = _told(old.admission), _told(new.admission)
    differing = [name for name in one if one[name] != other[name]]
    return _listed(one, differing), _listed(other, differing)


def _told(admission: Admission) -> dict[str, str]:
    networks = ", ".join(str(network) for network in admission.addresses.networks)
    trust = admission.addresses.trust.value
    return {
        "addresses": f"{trust} ({networks})" if networks else trust,
        "tls": admission.tls,
        "ech": admission.ech,
        "inspected": ", ".join(sorted(admission.inspect)) or "no",
        "let pass uninspected": ", ".join(sorted(admission.not_enforced)) or "nothing",
    }


def _listed(told: dict[str, str], names: list[str]) -> str:
    return "; ".join(f"{name}: {told[name]}" for name in names)


# --- sample questions ---------------------------------------------------------------------------


def _questions(policy: Policy) -> Iterator[_Question]:
    for entry in policy.network_policies:
        for binary in entry.binaries:
            for endpoint in entry.endpoints:
                for port in endpoint.ports:
                    yield from _about(endpoint, port, binary)


def _about(endpoint: Endpoint, port: int, binary: Binary) -> Iterator[_Question]:
    """The connection itself, each request that a rule names, and one that none names."""
    host = "any host" if endpoint.host is None else endpoint.host.text
    name = f"{_ANY}.example" if endpoint.host is None else _sample(endpoint.host.text, ".")
    program = binary.path.text
    connection = ConnectionIntent(
        host=name,
        port=port,
        binary=_sample(program, "/"),
        digests=(min(binary.sha256, default=None),),
    )
    where = f"{host}:{port}"
    is_carrier = endpoint.protocol == "rest"
    yield _Question(
        connection, f"connect to {where}", program, endpoint.origin, is_carrier, is_carrier
    )
    if not is_carrier:
        return
    route = "" if endpoint.path is None else endpoint.path.text
    for rule in (*endpoint.rules, *endpoint.deny_rules):
        if isinstance(rule, RestRule):
            request = RequestIntent(
                connection=connection,
                method=_ANY.upper() if rule.method == "*" else rule.method,
                path=_path_sample(rule.path, endpoint.path),
                query=_query_sample(rule),
            )
            what = (
                f"{_method(rule.method)} {where}{_shown_path(rule.path.text)}{_shown_query(rule)}"
            )
            yield _Question(request, what, program, rule.origin)
    other = RequestIntent(
        connection=connection,
        method=_ANY.upper(),
        path="/" + _sample(route or "/**", "/").strip("/"),
    )
    what = f"other requests {where}{_shown_path(route or '**')}"
    yield _Question(other, what, program, endpoint.origin, is_general=True)


def _method(method: str) -> str:
    return "any method" if method == "*" else method


def _shown_path(path: str) -> str:
    return "/**" if path == "**" else path


def _shown_query(rule: RestRule) -> str:
    parts = (f"{key}={'|'.join(one.text for one in any_of)}" for key, any_of in rule.query)
    return "?" + "&".join(parts) if rule.query else ""


def _sample(pattern: str, separator: str) -> str:
    """One text that the pattern matches; '**' becomes two parts, so that no '*' matches it."""
    return pattern.replace("**", f"{_ANY}{separator}{_ANY}").replace("*", _ANY)


def _path_sample(path: PathPattern, route: PathPattern | None) -> str:
    """A path that the rule names, inside the endpoint's own path where that is the narrower."""
    text = route.text if path.text == "**" and route is not None else path.text
    return "/" + _sample(text, "/").removeprefix("/")


def _query_sample(rule: RestRule) -> str:
    pairs = ((key, _sample(any_of[0].text, "")) for key, any_of in rule.query if any_of)
    return urlencode(list(pairs))


# --- the static half ----------------------------------------------------------------------------


def _static_changes(old: Policy, new: Policy) -> Iterator[str]:
    """What the running workload will not notice, in words."""
    one, other = old.filesystem, new.filesystem
    yield from _path_changes("readable", one.read_only, other.read_only)
    yield from _path_changes("writable", one.read_write, other.read_write)
    statements = (
        ("filesystem_policy.include_workdir", one.include_workdir, other.include_workdir),
        ("landlock.compatibility", old.landlock, new.landlock),
        ("process.run_as_user", old.process.run_as_user, new.process.run_as_user),
        ("process.run_as_group", old.process.run_as_group, new.process.run_as_group),
    )
    for name, before, after in (*statements, *_extensions(old, new)):
        if before != after:
            yield f"{name}: {_said(before)} becomes {_said(after)}"


def _extensions(old: Policy, new: Policy) -> Iterator[tuple[str, object, object]]:
    one, other = old.supervisor, new.supervisor
    for part in ("require", "limits", "syscalls"):
        for item in fields(getattr(one, part)):
            before, after = (getattr(getattr(it, part), item.name) for it in (one, other))
            yield f"supervisor.{part}.{item.name}", before, after
    yield "supervisor.accept", one.accept, other.accept
    yield "supervisor.loopback", one.loopback, other.loopback


def _path_changes(
    kind: str, old: tuple[PathEntry, ...], new: tuple[PathEntry, ...]
) -> Iterator[str]:
    before, after = ({entry.path for entry in entries} for entries in (old, new))
    yield from (f"{path} becomes {kind}" for path in sorted(after - before))
    yield from (f"{path} is no longer {kind}" for path in sorted(before - after))


def _said(value: object) -> str:
    match value:
        case None:
            return "unstated"
        case bool():
            return str(value).lower()
        case frozenset() | tuple():
            return "[" + ", ".join(str(it) for it in sorted(value)) + "]"
    return str(value)
