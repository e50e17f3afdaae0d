"""``policy test``: what a policy is expected to allow and to refuse, written beside it.

A test file is YAML, read by the same strict reader as a policy:

    version: 1
    policy: agent.yaml            # beside this file; or  preset: pypi
    binary: /usr/bin/python3.11   # who asks, unless a test says otherwise
    tests:
      - allow: GET https://pypi.org/simple/requests/
      - deny: PUT https://pypi.org/simple/requests/
        code: policy.request-not-allowed
      - name: the database, for psql only
        deny: {host: db.example, port: 5432, binary: /usr/bin/curl}

Each test states one of ``allow``, ``deny`` or ``audit``. The short form is ``METHOD URL``, or
``CONNECT HOST:PORT`` for a connection alone; the long form has ``http`` for the request, which
leaves room for other protocols beside it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from policy import codes as decision_codes
from policy import document_codes as codes
from policy import presets
from policy.answer import Answer, answer
from policy.document import Start, parse
from policy.findings import Origin, PatternError, PolicyError, Report
from policy.intent import ConnectionIntent, RequestIntent
from policy.shape import Either, Integer, Key, ListOf, Record, RecordOf, Text

if TYPE_CHECKING:
    from policy.answer import Intent
    from policy.decision import Verdict
    from policy.host import Address
    from policy.index import Index

_WORDS: tuple[Verdict, ...] = ("allow", "deny", "audit")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One test. ``resolves``: the addresses that the host is taken to have, judged as well."""

    name: str
    intent: Intent
    expected: Verdict
    code: str | None
    resolves: tuple[Address, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A whole file; exactly one of ``policy`` (a path relative to it) and ``preset`` is set."""

    policy: str | None
    preset: str | None
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the decision core answered to one expectation."""

    expectation: Expectation
    answer: Answer

    @property
    def passed(self) -> bool:
        """The verdict is the expected one, and so is the code where one is named."""
        wanted, got = self.expectation, self.answer
        return got.verdict == wanted.expected and wanted.code in (None, got.code.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The short form of an intent."""

    host: str
    port: int
    method: str | None
    path: str
    query: str


def _parse_target(text: str) -> _Target:
    """``METHOD URL`` or ``CONNECT HOST:PORT``; raises PatternError."""
    method, _, rest = text.partition(" ")
    scheme, found, behind = rest.partition("://")
    if method == "CONNECT" and not found:
        host, _, port = rest.rpartition(":")
        return _Target(host=host, port=_port(port, text), method=None, path="", query="")
    if not found or scheme not in _PORTS:
        raise _bad_target(text)
    authority, slash, below = behind.partition("/")
    path, _, query = (slash + below or "/").partition("?")
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, str(_PORTS[scheme])
    number = _port(port, text)
    return _Target(host=host, port=number, method=method, path=path, query=query)


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise _bad_target(whole)
    return int(text)


def _bad_target(text: str) -> PatternError:
    message = f"{text[:80]!r} is neither METHOD URL nor CONNECT HOST:PORT"
    remedy = "Write for example 'GET https://example.com/path' or 'CONNECT example.com:443'."
    return PatternError(codes.UNKNOWN_WORD.name, message, remedy)


def _parse_address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        message = f"{text[:80]!r} is not an address"
        raise PatternError(codes.NETWORK_SYNTAX.name, message, "Write an IP address.") from None


_PATHS = ListOf(item=Text())
_HTTP = RecordOf(
    keys={
        "method": Key(shape=Text(most=64), about="The method.", required=True),
        "path": Key(shape=Text(most=8192), about="The path as it is sent.", required=True),
        "query": Key(shape=Text(most=8192, empty=True), about="What stands behind '?'."),
    }
)
_ASKED = Either(
    word=Text(parse=_parse_target, most=8192),
    record=RecordOf(
        keys={
            "host": Key(shape=Text(), about="The host that is asked for.", required=True),
            "port": Key(shape=Integer(least=0, most=65535), about="The port.", required=True),
            "binary": Key(shape=Text(), about="Who asks."),
            "ancestors": Key(shape=_PATHS, about="Whose child it is."),
            "http": Key(shape=_HTTP, about="The request. Absent: the connection alone."),
        }
    ),
)
_TEST = RecordOf(
    keys={
        "name": Key(shape=Text(), about="What is tested."),
        **{word: Key(shape=_ASKED, about=f"This is expected to be: {word}.") for word in _WORDS},
        "code": Key(shape=Text(), about="The code that the answer must have."),
        "binary": Key(shape=Text(), about="Who asks, for the short form."),
        "resolves": Key(
            shape=ListOf(item=Text(parse=_parse_address), least=1),
            about="Addresses that the host resolves to.",
        ),
    }
)
FILE = RecordOf(
    keys={
        "version": Key(shape=Integer(least=1, most=1), about="1.", required=True),
        "policy": Key(shape=Text(), about="The policy's file, beside this one."),
        "preset": Key(shape=Text(words=presets.NAMES), about="Or a shipped preset."),
        "binary": Key(shape=Text(), about="Who asks, where a test does not say."),
        "tests": Key(
            shape=ListOf(item=_TEST, least=1, most=10_000), about="The tests.", required=True
        ),
    }
)


def read_expectations(text: bytes, *, file: str) -> Suite:
    """Read a test file; raises PolicyError with all findings."""
    report = Report(file)
    tree = parse(text, report)
    root = None if tree is None else FILE.read(tree, "", report)
    if tree is None and not report.found:
        report.add(codes.EMPTY, Start(), "", "the file holds no tests")
    found: tuple[Expectation, ...] = ()
    if isinstance(root, Record):
        if root.has("policy") == root.has("preset"):
            root.refuse(codes.MISSING_KEY, "", "state either 'policy' or 'preset'")
        tests = root.many("tests", Record)
        found = tuple(it for test in tests if (it := _expectation(test, root)) is not None)
    if report.found or not isinstance(root, Record):
        raise PolicyError(report.in_order())
    policy, preset = root.get("policy", str), root.get("preset", str)
    return Suite(policy=policy, preset=preset, expectations=found)


def _expectation(test: Record, root: Record) -> Expectation | None:
    stated = [word for word in _WORDS if test.has(word)]
    if len(stated) != 1:
        message = f"a test states one of allow, deny and audit, not {len(stated)}"
        test.refuse(codes.MISSING_KEY, "", message)
        return None
    word = stated[0]
    code = test.get("code", str)
    if code is not None and code not in decision_codes.catalogue():
        message = f"no decision has the code {code!r}"
        test.refuse(codes.UNKNOWN_WORD, "code", message, remedy="Run 'policy explain' to see it.")
    asked = test.values.get(word)
    binary = test.get("binary", str) or root.get("binary", str)
    intent = _intent(asked, binary)
    if intent is None:
        return None
    return Expectation(
        name=test.get("name", str) or f"{word} {_described(intent)}",
        intent=intent,
        expected=word,
        code=code,
        resolves=cast("tuple[Address, ...]", tuple(it.value for it in test.items("resolves"))),
        origin=test.origin,
    )


def _intent(asked: object, binary: str | None) -> Intent | None:
    if isinstance(asked, _Target):
        connection = ConnectionIntent(host=asked.host, port=asked.port, binary=binary)
        if asked.method is None:
            return connection
        return RequestIntent(
            connection=connection, method=asked.method, path=asked.path, query=asked.query
        )
    if not isinstance(asked, Record):
        return None
    connection = ConnectionIntent(
        host=asked.get("host", str) or "",
        port=asked.get("port", int) or 0,
        binary=asked.get("binary", str) or binary,
        ancestors=asked.many("ancestors", str),
    )
    http = asked.get("http", Record)
    if http is None:
        return connection
    return RequestIntent(
        connection=connection,
        method=http.get("method", str) or "",
        path=http.get("path", str) or "",
        query=http.get("query", str) or "",
    )


def _described(intent: Intent) -> str:
    if isinstance(intent, ConnectionIntent):
        return f"{intent.host}:{intent.port}"
    connection = intent.connection
    return f"{intent.method} {connection.host}:{connection.port}{intent.path}"


def check(index: Index, expectation: Expectation) -> Outcome:
    """Ask the decision core; total, as it is."""
    got = answer(index, expectation.intent, resolves=expectation.resolves)
    return Outcome(expectation=expectation, answer=got)
