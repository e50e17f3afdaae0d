"""Denials summed from records, for a reader that has no more than the ring. Pure, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.events.denial_table import DNS_PORT
from supervisor.events.text import quoted

# The ring holds 1024 denials; more different ones cannot come out of it.
MAX_KEYS = 1024


@dataclass(slots=True)
class Summed:
    """One host, port and program: how often, and why the last time."""

    host: str
    port: object
    program: str
    count: int
    code: str
    remedy: str

    def as_dict(self) -> dict[str, object]:
        """The JSON object of ``status --json``."""
        return {
            "host": self.host,
            "port": self.port,
            "program": self.program,
            "count": self.count,
            "code": self.code,
            "remedy": self.remedy,
        }

    def line(self) -> str:
        """For people."""
        where = quoted(self.host) if self.port is None else f"{quoted(self.host)}:{self.port}"
        return f"{self.count:>6}  {quoted(self.program)} -> {where}  {quoted(self.code)}"


class DeniedSummary:
    """Takes records in their order. A sum's own record carries the total of its process."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, object, str], Summed] = {}

    def add(self, record: Mapping[str, object]) -> None:
        """Count one record of a denial; those without a destination have nothing to sum up."""
        end, unmapped = _part(record, "dst_endpoint"), _part(record, "unmapped")
        host = end.get("hostname", end.get("ip", _part(record, "query").get("hostname")))
        if not isinstance(host, str):
            return
        # A refused name has no port of its own; its sums are about the port of DNS.
        number = end.get("port", DNS_PORT if "query" in record else None)
        port = number if isinstance(number, int) else None
        program = str(_part(_part(record, "actor"), "process").get("name", "-"))
        key = (host, port, program)
        one = self._found.get(key)
        if one is None:
            if len(self._found) >= MAX_KEYS:
                return
            one = self._found[key] = Summed(host, port, program, 0, "", "")
        total = unmapped.get("total")
        one.count = max(one.count, total) if isinstance(total, int) else one.count + 1
        one.code = str(record.get("status_code", "-"))
        one.remedy = str(unmapped.get("remedy", ""))

    def most_frequent(self) -> list[Summed]:
        """All, the most frequent first."""
        return sorted(self._found.values(), key=lambda one: -one.count)


def _part(record: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}
