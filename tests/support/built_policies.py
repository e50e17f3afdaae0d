"""Policies as values, made without the loader, for tests of the decision alone."""

import ipaddress
from typing import Any

from policy.findings import Origin
from policy.host import HostPattern
from policy.model import Extensions, Filesystem, Policy, Process
from policy.network import (
    Binary,
    Credentials,
    Endpoint,
    Inspection,
    NetworkPolicy,
    RestRule,
)
from policy.path import PathPattern
from policy.query import QueryPattern

CURL = "/usr/bin/curl"

_PRESETS = {
    "read-only": ("GET", "HEAD", "OPTIONS"),
    "read-write": ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"),
    "full": ("*",),
}


def origin(line: int = 1) -> Origin:
    return Origin(file="policy.yaml", line=line, column=1)


def rest(method: str, path: str = "**", line: int = 1, **query: str | tuple[str, ...]) -> RestRule:
    return RestRule(
        method=method,
        path=PathPattern.parse(path),
        query=tuple(
            (
                key,
                tuple(
                    QueryPattern.parse(v) for v in ((value,) if isinstance(value, str) else value)
                ),
            )
            for key, value in query.items()
        ),
        origin=origin(line),
    )


def endpoint(host: str | None, *ports: int, line: int = 1, **fields: Any) -> Endpoint:
    access = fields.pop("access", None)
    rules = fields.pop("rules", ())
    if access:
        rules = tuple(rest(method, line=line) for method in _PRESETS[access])
    path = fields.pop("path", None)
    values: dict[str, Any] = {
        "host": None if host is None else HostPattern.parse(host),
        "ports": ports or (443,),
        "path": None if path is None else PathPattern.parse(path),
        "protocol": "rest" if rules or "deny_rules" in fields else None,
        "tls": "auto",
        "enforcement": "enforce",
        "access": access,
        "rules": tuple(rules),
        "deny_rules": (),
        "allowed_ips": tuple(ipaddress.ip_network(t) for t in fields.pop("allowed_ips", ())),
        "inspection": Inspection(allow_encoded_slash=fields.pop("allow_encoded_slash", False)),
        "credentials": Credentials(),
        "ech": "tolerate",
        "origin": origin(line),
    }
    return Endpoint(**(values | fields))


def binary(path: str, *sha256: str) -> Binary:
    return Binary(path=PathPattern.parse_file(path), sha256=frozenset(sha256), origin=origin())


def entry(key: str, *endpoints: Endpoint, binaries: tuple[Any, ...] = (CURL,)) -> NetworkPolicy:
    return NetworkPolicy(
        key=key,
        name=key,
        endpoints=endpoints,
        binaries=tuple(binary(b) if isinstance(b, str) else b for b in binaries),
        origin=origin(),
    )


def policy(*entries: NetworkPolicy, accept: tuple[str, ...] = ()) -> Policy:
    return Policy(
        file="policy.yaml",
        version=1,
        filesystem=Filesystem(include_workdir=True, read_only=(), read_write=()),
        landlock="best_effort",
        process=Process(run_as_user=None, run_as_group=None, origin=origin()),
        network_policies=entries,
        middlewares=(),
        supervisor=Extensions(accept=frozenset(accept)),
    )
