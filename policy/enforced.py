"""What the policy says and this version does not enforce: one finding per entry and feature.

The one place to change when a feature begins to be enforced. ``policy.words.FEATURES`` names them;
a policy accepts one by listing it under ``supervisor: accept``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.codes import Code
from policy.network import Credentials
from policy.words import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.findings import Report
    from policy.network import Endpoint, Middleware, NetworkPolicy

# Plain HTTP needs no TLS inspection: its requests are decided one by one.
_PLAIN_HTTP_PORT = 80


def not_enforced_code(feature: str) -> Code:
    """The code of the findings about a feature: its last part is the feature's name."""
    return Code(
        f"policy.not-enforced.{feature}",
        f"This version does not enforce it: {FEATURES[feature]}.",
        f"Remove it, or accept that: list '{feature}' under 'supervisor: accept'.",
    )


def report_unenforced(
    entries: tuple[NetworkPolicy, ...], middlewares: tuple[Middleware, ...], report: Report
) -> None:
    """Add a finding for everything that is stated and not enforced."""
    for entry in entries:
        affected: dict[str, list[Endpoint]] = {}
        for endpoint in entry.endpoints:
            for feature in _features(endpoint):
                affected.setdefault(feature, []).append(endpoint)
        for feature, endpoints in affected.items():
            more = f" ({len(endpoints)} endpoints, here the first)" if len(endpoints) > 1 else ""
            report.add(
                not_enforced_code(feature),
                endpoints[0].origin,
                f"network_policies.{entry.key}",
                f"{FEATURES[feature]}{more}",
                severity="not-enforced",
            )
    for middleware in middlewares:
        code = not_enforced_code("middlewares")
        path = f"network_middlewares.{middleware.key}"
        message = FEATURES["middlewares"]
        report.add(code, middleware.origin, path, message, severity="not-enforced")


def _features(endpoint: Endpoint) -> Iterator[str]:
    match endpoint.protocol:
        case None | "tcp":
            pass
        case "rest":
            if endpoint.ports != (_PLAIN_HTTP_PORT,):
                yield "request-rules"
        case protocol:
            yield protocol
    if endpoint.credentials != Credentials():
        yield "credentials"
