"""Counters, gauges and histograms, and their Prometheus text form.

Our own 100 lines, because prometheus_client costs the process 66 ms and 14 MiB to import (143
modules, an HTTP server among them), three times what the monitor weighs. Labels come from our own
vocabulary only, never from the workload, and their number is bounded all the same.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4)
"""

from bisect import bisect_left
from collections.abc import Iterator

# Series of one metric. Codes are a hundred; beyond this a label is not what it should be.
MAX_SERIES = 256
OVERFLOW = "other"
# From a local answer to a day-long tunnel, in seconds.
DURATIONS_S = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)

Labels = tuple[str, ...]


class Metric:
    """One number for each combination of labels: a counter, or a gauge."""

    def __init__(self, kind: str, name: str, meaning: str, labels: Labels = ()) -> None:
        self.name = name
        self._kind = kind
        self._meaning = meaning
        self._labels = labels
        self._values: dict[Labels, float] = {}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Count. A counter's amount is never negative."""
        if labels not in self._values:
            labels = self._key(labels)
            self._values.setdefault(labels, 0.0)
        self._values[labels] += amount

    def set(self, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._values[self._key(labels)] = value

    def value(self, *labels: str) -> float:
        """The number as it is; 0 where nothing was counted."""
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        """The metric in text form."""
        yield f"# HELP {self.name} {self._meaning}"
        yield f"# TYPE {self.name} {self._kind}"
        if not self._labels and not self._values:
            yield f"{self.name} 0"
        for labels, value in self._values.items():
            yield f"{self.name}{_braces(self._labels, labels)} {_number(value)}"

    def _key(self, labels: Labels) -> Labels:
        if len(labels) != len(self._labels):
            raise ValueError(f"{self.name} has the labels {self._labels}, not {labels}")
        if labels in self._values or len(self._values) < MAX_SERIES:
            return labels
        return (OVERFLOW,) * len(labels)


class Histogram:
    """How values are distributed over fixed bounds."""

    def __init__(self, name: str, meaning: str, bounds: tuple[float, ...] = DURATIONS_S) -> None:
        self.name = name
        self._meaning = meaning
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterator[str]:
        """The metric in text form; buckets are cumulative."""
        yield f"# HELP {self.name} {self._meaning}"
        yield f"# TYPE {self.name} histogram"
        total = 0
        for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{bound}"}} {total}'
        yield f"{self.name}_sum {_number(self._sum)}"
        yield f"{self.name}_count {total}"


def exposition(metrics: tuple[Metric | Histogram, ...]) -> str:
    """All metrics as the text that a scraper reads."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _braces(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    inner = ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text.encode("ascii", "backslashreplace").decode()


def _number(value: float) -> str:
    return str(int(value)) if value == value // 1 and abs(value) < 1e15 else repr(value)
