"""The container's environment, read in one place.

The static launcher passes every variable of the container on as data, its name prefixed with
``@`` (no library looks such a name up), and sets ``SUPERVISOR_LAUNCHED``. Without it (a developer's
virtual environment) the process' own environment is the container's.
"""

import os

MARKER = "SUPERVISOR_LAUNCHED"


def container_environment() -> dict[str, str]:
    """The container's variables as it declared them; undecodable bytes are surrogate-escaped."""
    if MARKER not in os.environ:
        return dict(os.environ)
    return {name[1:]: value for name, value in os.environ.items() if name.startswith("@")}
