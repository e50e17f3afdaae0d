"""``python -m supervisor``."""

from supervisor.cli.main import entry

entry()
