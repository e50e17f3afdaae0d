"""What an entry grants beyond what it seems to: one warning for each kind, wherever it is first.

Nothing here is refused. Policies for agents name interpreters all the time, and some tunnels cannot
be looked into; whoever writes them has to know how far they reach.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from policy import document_codes as codes

if TYPE_CHECKING:
    from policy.codes import Code
    from policy.findings import Origin, Report
    from policy.network import NetworkPolicy

# Programs that run whatever file or text they are given; the loader (ld.so) runs any program.
_INTERPRETER = re.compile(
    r"(python|perl|ruby|php|lua)[\d.]*|node|nodejs|deno|bun|java|busybox"
    r"|(ba|da|z|k|a)?sh|ld-(linux|musl)[-\w]*\.so\.\d"
)
SHOWN = 3  # names in one warning; the rest is counted


def report_broader(entries: tuple[NetworkPolicy, ...], report: Report) -> None:
    """Add a warning for interpreters among the binaries and one for tunnels without a check."""
    interpreters = [
        (binary.path.text, entry.key, binary.origin)
        for entry in entries
        for binary in entry.binaries
        if _INTERPRETER.fullmatch(binary.path.text.rpartition("/")[2])
    ]
    opaque = [
        ("any host" if endpoint.host is None else endpoint.host.text, entry.key, endpoint.origin)
        for entry in entries
        for endpoint in entry.endpoints
        if endpoint.tls == "skip"
    ]
    _warn(codes.INTERPRETER, interpreters, report)
    _warn(codes.OPAQUE_TUNNEL, opaque, report)


def _warn(code: Code, found: list[tuple[str, str, Origin]], report: Report) -> None:
    if not found:
        return
    names = list(dict.fromkeys(name for name, _, _ in found))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    _, key, origin = found[0]
    text = f"{', '.join(names[:SHOWN])}{more}: {code.meaning}"
    report.add(code, origin, f"network_policies.{key}", text, severity="warning")
