"""Event lines on stderr, through structlog; the only module that imports it.

structlog costs about 40 ms to import, so it is imported with the first record that is written,
which is after the workload runs unless something has to be said before.
"""

import os
from collections.abc import Mapping
from typing import Any

FORMATS = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
# A longer text value is cut and marked: nothing that somebody else chose may fill the log.
VALUE_CHARS = 1024


class Log:
    """Writes events at or above a level; imports structlog at the first one."""

    def __init__(self, *, format: str = "auto", level: str = "info", stream: int = 2) -> None:  # noqa: A002
        self.as_json = format == "json" or (format == "auto" and not os.isatty(stream))
        self._threshold = LEVELS.index(level)
        self._stream = stream
        self._logger: Any = None

    def raise_level(self, level: str) -> None:
        """From now on only ``level`` and above: a raw terminal belongs to the workload."""
        self._threshold = max(self._threshold, LEVELS.index(level))

    def say(self, text: str) -> None:
        """Write lines for a person, outside the event stream."""
        os.write(self._stream, text.encode("utf-8", "backslashreplace") + b"\n")

    def emit(self, name: str, *, level: str = "info", **fields: object) -> None:
        """Write one event: ``name`` is dotted, ``fields`` are plain JSON values."""
        if LEVELS.index(level) < self._threshold:
            return
        if self._logger is None:
            self._logger = self._build()
        getattr(self._logger, level)(name, **{key: _cut(value) for key, value in fields.items()})

    def warm_up(self) -> None:
        """Import what is imported with the first record: a confined process cannot later."""
        self._logger = self._build()

    def _build(self) -> Any:  # noqa: ANN401 - what structlog returns
        import structlog

        renderer = structlog.processors.JSONRenderer() if self.as_json else render_text
        return structlog.wrap_logger(
            _Writer(self._stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                renderer,
            ],
            wrapper_class=structlog.BoundLogger,
        )


class _Writer:
    """The innermost logger: whole lines, one write each."""

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        os.write(self._stream, line.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = msg


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > VALUE_CHARS:
        return f"{value[:VALUE_CHARS]}… ({len(value)} characters)"
    return value


def render_text(_: object, __: str, event: Mapping[str, Any]) -> str:
    """One readable line; every value is quoted so that none can forge another line."""
    from json import dumps

    shown = [
        f"{key}={dumps(value, default=str, ensure_ascii=True)}"
        for key, value in event.items()
        if key not in ("event", "timestamp", "level")
    ]
    return " ".join([event["timestamp"], event["level"].upper(), event["event"], *shown])
